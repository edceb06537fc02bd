#pragma once

// Marks what the shared library gpumcp_gpu_runtime offers to others. The project compiles with
// hidden visibility, so a class or function without this mark cannot be linked from an interface.
// The .cpp files of one library see each other regardless.
#define GPUMCP_RUNTIME_API __attribute__((visibility("default")))
