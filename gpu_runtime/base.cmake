# gpumcp_gpu_runtime_base: what needs no torch, as objects: the shared library and the tests take them in.
add_library(gpumcp_gpu_runtime_base OBJECT
  artifact_spill.cpp artifact_view.cpp artifacts.cpp checkpoint.cpp json.cpp model_config.cpp model_store.cpp npy.cpp
  safetensors.cpp sentence_transformer_config.cpp
  generation/generation_config.cpp generation/sampler.cpp generation/text_stream.cpp
  template/chat_template.cpp template/evaluate.cpp template/expression_parser.cpp template/filters.cpp
  template/filters_sequence.cpp template/filters_text.cpp template/globals.cpp template/interpreter.cpp
  template/lexer.cpp template/methods.cpp template/operators.cpp template/parser.cpp template/tests.cpp
  template/text_functions.cpp template/value.cpp template/value_text.cpp
  bert_unicode.cpp tokenizer.cpp tokenizer_added_tokens.cpp tokenizer_bpe.cpp tokenizer_bytes.cpp
  tokenizer_decoder.cpp tokenizer_loader.cpp tokenizer_merges.cpp tokenizer_normal_forms.cpp
  tokenizer_normalizer.cpp tokenizer_parts.cpp tokenizer_post_processor.cpp tokenizer_pre_tokenizer.cpp
  tokenizer_regex.cpp tokenizer_split.cpp tokenizer_unigram.cpp tokenizer_wordpiece.cpp trie.cpp unicode.cpp
  vocabulary.cpp held_time.cpp)
# Each of these has a table of its own, and functions named as what templates call.
set_source_files_properties(template/chat_template.cpp template/filters_sequence.cpp template/filters_text.cpp
  template/methods.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
target_compile_features(gpumcp_gpu_runtime_base PUBLIC cxx_std_20)
target_include_directories(gpumcp_gpu_runtime_base PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
target_link_libraries(gpumcp_gpu_runtime_base
  PUBLIC nlohmann_json::nlohmann_json fmt::fmt gpumcp::utf8proc gpumcp::tl_expected
  PRIVATE gpumcp::build gpumcp::pcre2)
set_target_properties(gpumcp_gpu_runtime_base PROPERTIES POSITION_INDEPENDENT_CODE ON)
# The same as an archive, for programs that want a part of it: where models lie, what their files say.
add_library(gpumcp_model_files STATIC $<TARGET_OBJECTS:gpumcp_gpu_runtime_base>)
set_target_properties(gpumcp_model_files PROPERTIES LINKER_LANGUAGE CXX)
target_include_directories(gpumcp_model_files PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
target_link_libraries(gpumcp_model_files
  PUBLIC nlohmann_json::nlohmann_json fmt::fmt gpumcp::utf8proc gpumcp::tl_expected gpumcp::pcre2)
