#!/usr/bin/env python3
"""Writes gpu_runtime/tokenizer_regex_tables.h: what the regular expressions of the `tokenizers` package put into each
Unicode category beyond Unicode 14, which is what the oldest PCRE2 that we build on knows (10.40 and later).

The package brings an Oniguruma of its own, with Unicode 16, so that a PCRE2 of a machine says other things. Measured on
the package itself. Usage, with a Python of 3.11 (Unicode 14): make_regex_unicode.py > gpu_runtime/tokenizer_regex_tables.h
"""
import sys
import unicodedata

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

assert unicodedata.unidata_version == "14.0.0", "Python 3.11 has Unicode 14"
CATEGORIES = ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
              "Sc", "Sk", "So")
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def members(category):
    split = Split(Regex(r"\p{%s}" % category), "removed")
    left = set()
    for at in range(0, len(POINTS), 20000):
        for piece, _ in split.pre_tokenize_str("".join(map(chr, POINTS[at : at + 20000]))):
            left.update(map(ord, piece))
    return set(POINTS) - left


def ranges(points):
    found = []
    for point in sorted(points):
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def main():
    print("#pragma once\n")
    print("// Written by tests/gpu_runtime/make_regex_unicode.py, which says what it is: the code points that the regular")
    print("// expressions of the `tokenizers` package know in each category and Unicode 14 does not, as the inside of a")
    print("// PCRE2 class.")
    print("#include <string_view>\n\nnamespace gpumcp::gpu_runtime {\n")
    print("struct CategoryAddition {\n  std::string_view category, ranges;\n};\n")
    print("// clang-format off\ninline constexpr CategoryAddition kCategoryAdditions[] = {")
    for category in CATEGORIES:
        known = {c for c in POINTS if unicodedata.category(chr(c)) == category}
        added = ranges(members(category) - known)
        if not added:
            continue
        print(f"  {{\"{category}\",")
        line = ""
        for first, last in added:
            item = f"\\x{{{first:x}}}" + (f"-\\x{{{last:x}}}" if last > first else "")
            if len(line) + len(item) > 105:
                print(f"   R\"({line})\"")
                line = ""
            line += item
        print(f"   R\"({line})\"}},")
        print(category, len(added), file=sys.stderr)
    print("};\n// clang-format on\n\n}  // namespace gpumcp::gpu_runtime")


main()
