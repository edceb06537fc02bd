// Which protocol version a client speaks. 2026-07-28 first: server/discover, tried again in a
// version that the server names where it refuses ours (-32022). `initialize` where that fails, with
// whatever error; not where the failure says nothing about the era (no connection, 401, 403, 5xx).
//
//   what is remembered ─ discovered ──────────────────────────────▶ modern, nothing sent
//                      ─ an older version ──┐
//   server/discover ─ result, -32022 ──────────────────────────────▶ modern
//                   ─ other error, silence ─┴▶ initialize ─ result ▶ legacy
//                     silence, then an error to `initialize`: server/discover once more
#include <fmt/format.h>

#include <algorithm>

#include "mcp/client.h"
#include "mcp/json_members.h"
#include "mcp/tasks.h"

namespace gpumcp::mcp {
namespace {

Json object_member(const Json& json, std::string_view key) {
  const Json* found = member(json, key);
  return found && found->is_object() ? *found : Json::object();
}

bool lists(const Json* versions, std::string_view version) {
  return versions && versions->is_array() &&
         std::find(versions->begin(), versions->end(), version) != versions->end();
}

// Says nothing about the era: no connection, or an HTTP refusal.
bool no_evidence(const Error& error) {
  const int code = static_cast<int>(error.code);
  return error.code == ErrorCode::closed || error.code == ErrorCode::io_error || code == 401 ||
         code == 403 || (code >= 500 && code != kPeerRestarts);
}

}  // namespace

// The reader and the pool look at it too, while a server asks something.
void Client::set_version(std::string version) {
  std::scoped_lock lock(mutex_);
  version_ = std::move(version);
  offered_ = capabilities_of(options_.handlers, version_);
  if (options_.tasks && modern())
    offered_["extensions"] = {{std::string(kTasksExtension), Json::object()}};
}

std::string Client::version_now() const {
  std::scoped_lock lock(mutex_);
  return version_;
}

Result<void> Client::negotiate() {
  set_version(std::string(kModernVersion));
  if (options_.era == Era::legacy) return initialize();
  if (auto known = cache_->find(cache_key("server/discover", "")))
    if (adopt_discovered(known->front()) == Found::modern) return {};
  const auto remembered = cache_->version(options_.server);
  if (options_.era == Era::automatic && remembered && !is_modern_version(*remembered)) {
    if (initialize()) return {};
    set_version(std::string(kModernVersion));  // another server may be there now
  }
  // An old server may not answer what it does not know: with `automatic`, silence leads to
  // `initialize`.
  auto found = discover(options_.era == Era::automatic ? options_.connect_timeout / 3
                                                       : options_.connect_timeout);
  if (found && *found == Found::modern) return {};
  if (!found) {
    const ErrorCode code = found.error().code;
    // Errors that only this era has, and those that say nothing of it.
    if (no_evidence(found.error()) || code == ErrorCode::header_mismatch ||
        code == ErrorCode::missing_client_capability ||
        (options_.era == Era::modern && code == ErrorCode::timeout))
      return tl::unexpected(std::move(found.error()));
  }
  if (options_.era == Era::automatic) {
    auto ok = initialize();
    if (ok || found) return ok;
    // A child that ended, and is not started again: how it ended says more than that it has.
    if (static_cast<int>(found.error().code) == kPeerRestarts &&
        ok.error().code == ErrorCode::closed)
      return tl::unexpected(std::move(found.error()));
    if (found.error().code != ErrorCode::timeout) {
      // It may have turned us away, which says more than that it has gone.
      if (ok.error().code == ErrorCode::closed)
        return fail(ErrorCode::closed, fmt::format("{}; before, it said: {}", ok.error().message,
                                                   found.error().message.substr(0, 400)));
      return ok;
    }
    // It was slow to start rather than old, and took our first question for the opening.
    set_version(std::string(kModernVersion));
    found = discover(options_.connect_timeout);
    return found && *found == Found::modern ? Result<void>() : ok;
  }
  return fail(ErrorCode::unsupported_protocol_version,
              fmt::format("the server does not speak {}{}", kModernVersion,
                          found ? "" : ": " + found.error().message));
}

Result<Client::Found> Client::discover(std::chrono::milliseconds timeout) {
  for (bool again = false;; again = true) {
    auto text = request("server/discover", "", {.timeout = timeout});
    if (text) {
      const Found found = adopt_discovered(*text);
      if (found == Found::modern) {
        cache_->set_version(options_.server, version_);
        cache_->store(cache_key("server/discover", ""), {*text}, CacheHint::of(*text));
      }
      return found;
    }
    if (text.error().code != ErrorCode::unsupported_protocol_version || again)
      return tl::unexpected(std::move(text.error()));
    // Refused, but by one that knows the era. It may even name our version: then that was a hitch.
    auto data = parse_json(text.error().data);
    const Json* supported = data ? member(*data, "supported") : nullptr;
    if (!lists(supported, kModernVersion)) return Found::legacy;
  }
}

Client::Found Client::adopt_discovered(std::string_view result) {
  auto json = parse_json(result);
  if (!json || !json->is_object()) return Found::no;
  if (!lists(member(*json, "supportedVersions"), kModernVersion)) return Found::legacy;
  capabilities_ = object_member(*json, "capabilities");
  instructions_ = text_of(*json, "instructions");
  server_info_ = object_member(object_member(*json, "_meta"), kMetaServerInfo);
  return Found::modern;
}

Result<void> Client::initialize() {
  set_version(std::string(kLatestLegacyVersion));
  auto text =
      request("initialize",
              fmt::format(R"("protocolVersion":"{}","capabilities":{},"clientInfo":{})", version_,
                          to_text(offered_), to_text(to_json(options_.info, version_))),
              {.timeout = options_.connect_timeout});
  if (!text) return tl::unexpected(std::move(text.error()));
  auto json = parse_json(*text);
  if (!json) return tl::unexpected(std::move(json.error()));
  set_version(text_of(*json, "protocolVersion"));
  if (!is_supported_version(version_) || modern())
    return fail(
        ErrorCode::unsupported_protocol_version,
        fmt::format("the server chose protocol version \"{}\", which this client does not know",
                    version_.substr(0, 80)));
  capabilities_ = object_member(*json, "capabilities");
  server_info_ = object_member(*json, "serverInfo");
  instructions_ = text_of(*json, "instructions");
  cache_->set_version(options_.server, version_);
  return transport_->write(make_notification("notifications/initialized", {}));
}

std::string Client::with_meta(std::string_view params, Json meta, const RequestId& id,
                              bool progress) const {
  if (!meta.is_object()) meta = Json::object();
  if (modern()) {
    meta[std::string(kMetaProtocolVersion)] = version_;
    // A forwarder says what its own client can do, and who that is.
    if (!meta.contains(kMetaClientCapabilities))
      meta[std::string(kMetaClientCapabilities)] = offered_;
    if (!meta.contains(kMetaClientInfo))
      meta[std::string(kMetaClientInfo)] = to_json(options_.info);
  }
  if (progress) meta["progressToken"] = Json::parse(id.json);
  std::string out = "{";
  out += params;
  if (!meta.empty()) ((out += params.empty() ? "" : ",") += R"("_meta":)") += to_text(meta);
  return out + "}";
}

}  // namespace gpumcp::mcp
