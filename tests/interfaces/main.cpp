#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "interfaces/support.h"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int result = context.run();
  gpumcp::tests::Worker::end_all();  // before the libraries' own statics go
  return result;
}
