// What ECMA-262's shorthands stand for in RE2's syntax. For ecma_translator.cpp alone.
#pragma once

#include <array>
#include <string_view>
#include <utility>

namespace gpumcp::mcp::schema {

// Insides of classes. ECMA-262's \s is wider than RE2's, and "." keeps out more than "\n".
inline constexpr std::string_view kSpace =
    R"(\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff})";
inline constexpr std::string_view kNoSpace =
    R"(\x00-\x08\x0e-\x1f!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e})"
    R"(\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff})";
inline constexpr std::string_view kDot = R"([^\n\r\x{2028}\x{2029}])";
inline constexpr std::string_view kAny = R"([\x00-\x{10ffff}])", kNothing = R"([^\x00-\x{10ffff}])";

// Long names of general categories (Unicode, PropertyValueAliases); RE2 knows the short ones.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 41> kCategories{{
    {"Letter", "L"},
    {"Cased_Letter", "[\\p{Lu}\\p{Ll}\\p{Lt}]"},
    {"LC", "[\\p{Lu}\\p{Ll}\\p{Lt}]"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Combining_Mark", "M"},
    {"Nonspacing_Mark", "Mn"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"digit", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Connector_Punctuation", "Pc"},
    {"Dash_Punctuation", "Pd"},
    {"Open_Punctuation", "Ps"},
    {"Close_Punctuation", "Pe"},
    {"Initial_Punctuation", "Pi"},
    {"Final_Punctuation", "Pf"},
    {"Other_Punctuation", "Po"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Line_Separator", "Zl"},
    {"Paragraph_Separator", "Zp"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"cntrl", "Cc"},
    {"Format", "Cf"},
    {"Private_Use", "Co"},
}};

}  // namespace gpumcp::mcp::schema
