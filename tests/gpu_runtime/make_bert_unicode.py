#!/usr/bin/env python3
"""Writes gpu_runtime/bert_unicode_tables.h: what the `tokenizers` package takes each code point for.

Its categories are frozen at Unicode 8 and its normal forms at Unicode 9, so a newer utf8proc says other
things. The table is measured on the package itself: every code point goes through its normalizers.
Usage: make_bert_unicode.py > gpu_runtime/bert_unicode_tables.h   (pip install tokenizers)
"""
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

OFF = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
clean = BertNormalizer(**{**OFF, "clean_text": True})
chinese = BertNormalizer(**{**OFF, "handle_chinese_chars": True})
strip = BertNormalizer(**{**OFF, "strip_accents": True})
nfd = NFD()
splitter = BertPreTokenizer()

REMOVED, SPACE, CHINESE, DECOMPOSES, NONSTARTER, MARK, PUNCTUATION = (1 << i for i in range(7))


def flags_of(code_point):
    char = chr(code_point)
    flags = 0
    cleaned = clean.normalize_str(char)
    flags |= REMOVED * (cleaned == "") | SPACE * (cleaned == " ")
    flags |= CHINESE * (chinese.normalize_str(char) != char)
    flags |= DECOMPOSES * (nfd.normalize_str(char) != char)
    # A starter stays where it stands between marks of class 240 and 1, which then do not meet.
    between = nfd.normalize_str("a\u0345" + char + "\u0334")
    alone = nfd.normalize_str(char)
    flags |= NONSTARTER * (between != "a\u0345" + alone + "\u0334")
    flags |= MARK * (not flags & DECOMPOSES and strip.normalize_str(char) == "")
    flags |= PUNCTUATION * ([t for t, _ in splitter.pre_tokenize_str("a" + char + "b")] == ["a", char, "b"])
    return flags


def main():
    ranges = []
    for code_point in range(0x110000):
        flags = 0 if 0xD800 <= code_point < 0xE000 else flags_of(code_point)
        if flags and ranges and ranges[-1][1] == code_point - 1 and ranges[-1][2] == flags:
            ranges[-1][1] = code_point
        elif flags:
            ranges.append([code_point, code_point, flags])
    print("#pragma once\n")
    print("// Written by tests/gpu_runtime/make_bert_unicode.py, which says what it is: what the `tokenizers` package")
    print("// takes each code point for, as ranges {first, last, flags} in ascending order. Flags: 1 removed by")
    print("// clean_text, 2 a space to it, 4 Chinese, 8 decomposes under NFD, 16 reordered there, 32 a mark (Mn),")
    print("// 64 punctuation. Code points that stand nowhere have none.")
    print("#include <cstdint>\n")
    print("namespace gpumcp::gpu_runtime {\n")
    print("struct BertFlagRange {\n  std::uint32_t first, last;\n  std::uint8_t flags;\n};\n")
    print("// clang-format off\ninline constexpr BertFlagRange kBertFlagRanges[] = {")
    line = " "
    for first, last, flags in ranges:
        item = f" {{{first:#x}, {last:#x}, {flags}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = " "
        line += item
    print(line)
    print("};\n// clang-format on\n\n}  // namespace gpumcp::gpu_runtime")


main()
