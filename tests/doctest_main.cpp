#define DOCTEST_CONFIG_IMPLEMENT  // doctest.h itself was read before, in the precompiled header
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
