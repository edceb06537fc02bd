// What session.cpp settles about a request and session_methods.cpp answers. Private to mcp.
#pragma once

#include "mcp/session.h"

namespace gpumcp::mcp {

// Eras in which a method exists.
inline constexpr int kLegacy = 1, kModern = 2, kBoth = 3;

inline std::string quoted_versions() {
  Json versions = Json::array();
  for (std::string_view v : kVersions) versions.push_back(v);
  return to_text(versions);
}

// session_batch.cpp
bool is_batch(std::string_view text);          // of anything: whether it begins as an array does
bool claims_modern(std::string_view message);  // params._meta names a protocol version

Error resource_not_found(const std::string& uri, bool modern);
Error missing_tasks_extension();

// A request's `_meta`. Clients say the same with each request, so what was read last is kept by
// each thread and shared.
struct RequestMeta {
  Json json = Json::object();
  std::string progress_token;  // JSON text, empty: none
  // 2026-07-28: whether these are there, and what they say if they are right.
  bool has_version = false, has_capabilities = false;
  std::shared_ptr<const Asker> asker;
  // What is wrong with them, and what is found wrong after headers have been compared.
  std::optional<Error> broken, broken_late;
};

// A request on its way to its method.
struct Session::Request {
  Message message;
  std::shared_ptr<ReplySink> sink;
  const HttpClaims* http = nullptr;
  StandIns::Duty* duty = nullptr;  // of the thread that received it
  bool modern = false;
  std::shared_ptr<const RequestMeta> meta;
  std::shared_ptr<const Asker> asker;
  // Members of params, as texts; empty if absent.
  std::string_view name, arguments, uri, cursor, protocol_version, client_info, client_capabilities,
      level, input_responses, request_state, ref, argument, context, notifications, task_id;
};

}  // namespace gpumcp::mcp
