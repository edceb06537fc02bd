#include "mcp/message.h"

#include <fmt/format.h>

#include <charconv>

namespace gpumcp::mcp {
namespace {

std::string_view json_kind(std::string_view json) {
  switch (json.empty() ? ' ' : json[0]) {
    case '{':
      return "an object";
    case '[':
      return "an array";
    case '"':
      return "a string";
    case 't':
    case 'f':
      return "a boolean";
    case 'n':
      return "null";
    default:
      return "a number";
  }
}

}  // namespace

Result<RequestId> parse_request_id(std::string_view json) {
  if (json.size() > kMaxIdBytes)
    return fail(
        ErrorCode::invalid_request,
        fmt::format("the id has {} bytes; at most {} are accepted", json.size(), kMaxIdBytes));
  if (json.starts_with('"')) {
    if (json.find('\\') == json.npos) return RequestId{std::string(json)};
    RequestId id;
    append_string(id.json, Json::parse(json).get_ref<const std::string&>());
    return id;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(json.data(), json.data() + json.size(), value);
  if (error != std::errc() || end != json.data() + json.size())
    return fail(
        ErrorCode::invalid_request,
        fmt::format("the id must be a string or a 64-bit integer, got {}", json.substr(0, 40)));
  return RequestId{std::string(json)};
}

Result<Message> parse_message(std::string text, RequestId* id_of_broken) {
  Message m;
  m.text_ = std::move(text);
  const std::string_view whole = m.text_;
  std::string_view version, id, method, params, result, error;
  auto scanned = scan_json(whole, [&](std::string_view key, std::string_view value) {
    if (key == "jsonrpc")
      version = value;
    else if (key == "id")
      id = value;
    else if (key == "method")
      method = value;
    else if (key == "params")
      params = value;
    else if (key == "result")
      result = value;
    else if (key == "error")
      error = value;
  });
  if (!scanned) return tl::unexpected(std::move(scanned.error()));
  const size_t first = whole.find_first_not_of(" \t\r\n");
  if (whole[first] != '{')
    return fail(ErrorCode::invalid_request, fmt::format("a JSON-RPC message is an object, got {}",
                                                        json_kind(whole.substr(first))));
  if (!id.empty() && id != "null") {
    auto parsed = parse_request_id(id);
    if (!parsed) return tl::unexpected(std::move(parsed.error()));
    m.id_ = std::move(*parsed);
    if (id_of_broken) *id_of_broken = m.id_;
  }
  if (version != "\"2.0\"") return fail(ErrorCode::invalid_request, "\"jsonrpc\" must be \"2.0\"");
  auto span = [&](std::string_view part) {
    return part.empty()
               ? Message::Span{}
               : Message::Span{static_cast<size_t>(part.data() - whole.data()), part.size()};
  };
  auto want_object = [](const char* name, std::string_view part) -> Result<void> {
    if (part.empty() || part.starts_with('{')) return {};
    return fail(ErrorCode::invalid_request,
                fmt::format("\"{}\" must be an object, got {}", name, json_kind(part)));
  };
  if (!method.empty()) {
    if (!method.starts_with('"'))
      return fail(ErrorCode::invalid_request, "\"method\" must be a string");
    if (id == "null") return fail(ErrorCode::invalid_request, "the id must not be null");
    m.method_ = method.find('\\') == method.npos ? std::string(method.substr(1, method.size() - 2))
                                                 : Json::parse(method).get<std::string>();
    if (auto ok = want_object("params", params); !ok)
      return fail(ErrorCode::invalid_params, std::move(ok.error().message));
    m.kind_ = id.empty() ? Message::Kind::notification : Message::Kind::request;
    m.params_ = span(params);
    return m;
  }
  if (result.empty() == error.empty())
    return fail(ErrorCode::invalid_request,
                "a message needs \"method\", or exactly one of \"result\" and \"error\"");
  m.kind_ = error.empty() ? Message::Kind::result : Message::Kind::error;
  if (m.id_.empty() && error.empty())
    return fail(ErrorCode::invalid_request, "a result needs the id of its request");
  if (auto ok = want_object(error.empty() ? "result" : "error", error.empty() ? result : error);
      !ok)
    return tl::unexpected(std::move(ok.error()));
  m.result_ = span(result);
  m.error_ = span(error);
  return m;
}

Error parse_error_object(std::string_view text) {
  Error out{ErrorCode::internal_error, "the peer sent an error without a message"};
  auto parsed = parse_json(text);
  if (!parsed || !parsed->is_object()) return out;
  if (auto code = parsed->find("code"); code != parsed->end() && code->is_number_integer()) {
    const int64_t value = code->get<int64_t>();
    const bool local = value > 0 && value <= static_cast<int64_t>(ErrorCode::io_error);
    if (!local && value == static_cast<int>(value)) out.code = static_cast<ErrorCode>(value);
  }
  if (auto message = parsed->find("message"); message != parsed->end() && message->is_string())
    out.message = message->get<std::string>();
  if (auto data = parsed->find("data"); data != parsed->end()) out.data = to_text(*data);
  return out;
}

std::string make_request(const RequestId& id, std::string_view method, std::string_view params) {
  std::string out;
  out.reserve(64 + method.size() + params.size());
  out += R"({"jsonrpc":"2.0","id":)";
  out += id.json;
  out += R"(,"method":)";
  append_string(out, method);
  if (!params.empty()) (out += R"(,"params":)") += params;
  out += '}';
  return out;
}

std::string make_notification(std::string_view method, std::string_view params) {
  std::string out;
  out.reserve(64 + method.size() + params.size());
  out += R"({"jsonrpc":"2.0","method":)";
  append_string(out, method);
  if (!params.empty()) (out += R"(,"params":)") += params;
  out += '}';
  return out;
}

std::string make_result(const RequestId& id, std::string_view result) {
  std::string out;
  out.reserve(40 + id.json.size() + result.size());
  out += R"({"jsonrpc":"2.0","id":)";
  out += id.json;
  out += R"(,"result":)";
  out += result;
  out += '}';
  return out;
}

std::string make_error(const RequestId& id, const Error& error, bool null_id) {
  std::string out = R"({"jsonrpc":"2.0",)";
  if (!id.empty())
    ((out += R"("id":)") += id.json) += ',';
  else if (null_id)
    out += R"("id":null,)";
  out += R"("error":)";
  out += error_object(error);
  out += '}';
  return out;
}

std::string error_object(const Error& error) {
  std::string out = R"({"code":)";
  append_number(out, static_cast<int64_t>(error.code));
  out += R"(,"message":)";
  append_string(out, error.message);
  if (!error.data.empty()) (out += R"(,"data":)") += error.data;
  out += '}';
  return out;
}

}  // namespace gpumcp::mcp
