// Session's methods that run a handler: tools/call, resources/read, prompts/get,
// completion/complete. Each finds its entry, makes a Call, and hands it to the pool or to the
// forwarder.
#include <fmt/format.h>

#include "mcp/call.h"
#include "mcp/json_members.h"
#include "mcp/param_headers.h"
#include "mcp/server_impl.h"
#include "mcp/session_request.h"

namespace gpumcp::mcp {
namespace {

// What prompts and completions take: an object whose values are strings.
Result<PromptArguments> string_arguments(std::string_view text, std::string_view where) {
  PromptArguments out;
  if (text.empty() || text == "null") return out;
  const auto wrong = [&](std::string_view what) {
    return fail(ErrorCode::invalid_params, fmt::format("{}: {}", where, what));
  };
  if (!text.starts_with('{')) return wrong("expected an object");
  auto json = parse_scanned(text);
  if (!json) return tl::unexpected(std::move(json.error()));
  for (auto& [key, value] : json->items()) {
    if (!value.is_string())
      return fail(ErrorCode::invalid_params, fmt::format("{}.{}: expected a string", where, key));
    out[key] = value.get<std::string>();
  }
  return out;
}

// The barrier of handlers: the call gets an answer, and the server lives on.
template <class Handler>
void guarded(Call& call, const Handler& handler) {
  try {
    if (!call.cancelled()) handler(call);
  } catch (const HandlerLeft&) {
    call.finish_round();
  } catch (const MissingCapability& e) {
    call.finish_missing(e);
  } catch (const DecodeError& e) {
    call.fail_handler(e.what(), ErrorCode::invalid_params);
  } catch (const ProtocolError& e) {
    call.finish_error(e.error());
  } catch (const ToolError& e) {
    call.fail_handler(e.what());
  } catch (const std::exception& e) {
    call.fail_handler(fmt::format("{} failed: {}", call.name(), e.what()));
  } catch (...) {
    call.fail_handler(
        fmt::format("{} failed: it threw something that is no std::exception", call.name()));
  }
}

}  // namespace

Error resource_not_found(const std::string& uri, bool modern) {
  std::string data = R"({"uri":)";
  append_string(data, uri);
  return {modern ? ErrorCode::invalid_params : ErrorCode::resource_not_found_legacy,
          fmt::format("resource not found: {}", uri.substr(0, 200)), data + "}"};
}

template <class Handler>
void Session::run(Request& r, std::shared_ptr<Call> call, std::shared_ptr<Pace> pace,
                  Handler handler) {
  auto work = [call, pace, handler = std::move(handler)] {
    const auto began = std::chrono::steady_clock::now();
    guarded(*call, handler);
    if (pace) pace->took(std::chrono::steady_clock::now() - began);
  };
  if (r.duty && pace && pace->quick() && server_->pool.has_room()) {
    if (!r.duty->movable) {
      r.duty->missed = true;
    } else if (StandIns::Run here(server_->stand_ins, *r.duty); here) {
      work();
      return here.end();
    }
  }
  if (!server_->pool.submit(std::move(work)))
    call->fail_handler(fmt::format("busy: {} calls are running and {} wait; retry in a few seconds",
                                   server_->options.max_running_calls,
                                   server_->options.max_queued_calls));
}

Result<void> Session::check_param_headers(const Request& r,
                                          const std::vector<ParamHeader>& headers) const {
  if (!r.modern || !r.http || headers.empty()) return {};
  auto arguments = parse_scanned(r.arguments.empty() ? "{}" : r.arguments);
  if (!arguments) return tl::unexpected(std::move(arguments.error()));
  return compare_param_headers(*arguments, headers, r.http->params);
}

void Session::call_tool(Request& r) {
  if (!r.name.starts_with('"'))
    return fail_request(
        r, {ErrorCode::invalid_params, "params.name: the tool's name, a string, is needed"});
  std::string name = string_of(r.name);
  const auto catalog = server_->catalog();
  auto entry = catalog->find_tool(name);
  if (!entry) {
    std::string known;
    for (auto& e : catalog->tools) (known += known.empty() ? "" : ", ") += e->tool.name;
    return fail_request(
        r, {ErrorCode::invalid_params, fmt::format("unknown tool \"{}\"; tools: {}",
                                                   name.substr(0, 80), known.substr(0, 400))});
  }
  if (r.arguments == "null") r.arguments = {};
  if (!r.arguments.empty() && !r.arguments.starts_with('{'))
    return fail_request(r, {ErrorCode::invalid_params, "params.arguments: expected an object"});
  if (auto ok = check_param_headers(r, entry->param_headers); !ok)
    return fail_request(r, ok.error());
  auto call = start_call(r, std::move(name));
  if (!call) return;
  if (entry->forwarder) return (*entry->forwarder)(call);
  run(r, call, entry->pace, [entry](Call& c) {
    auto arguments = parse_scanned(c.arguments().empty() ? "{}" : c.arguments());
    if (!arguments) return c.fail_handler("arguments: " + arguments.error().message);
    c.finish(entry->handler(*arguments, c));
  });
}

void Session::read_resource(Request& r) {
  if (!r.uri.starts_with('"'))
    return fail_request(
        r, {ErrorCode::invalid_params, "params.uri: the resource's URI, a string, is needed"});
  std::string uri = string_of(r.uri);
  auto entry = server_->catalog()->find_resource(uri);
  if (!entry) return fail_request(r, resource_not_found(uri, r.modern));
  auto call = start_call(r, std::move(uri));
  if (!call) return;
  if (entry->forwarder) return (*entry->forwarder)(call);
  run(r, call, entry->pace, [entry, modern = r.modern](Call& c) {
    if (auto contents = entry->reader(c.name(), c))
      c.finish_contents(*contents);
    else
      c.finish_error(resource_not_found(c.name(), modern));
  });
}

void Session::get_prompt(Request& r) {
  if (!r.name.starts_with('"'))
    return fail_request(
        r, {ErrorCode::invalid_params, "params.name: the prompt's name, a string, is needed"});
  std::string name = string_of(r.name);
  auto entry = server_->catalog()->find_prompt(name);
  if (!entry)
    return fail_request(
        r, {ErrorCode::invalid_params, fmt::format("unknown prompt \"{}\"", name.substr(0, 80))});
  auto arguments = string_arguments(r.arguments, "params.arguments");
  if (!arguments) return fail_request(r, arguments.error());
  for (const PromptArgument& argument : entry->prompt.arguments) {
    if (argument.required && !arguments->contains(argument.name))
      return fail_request(
          r, {ErrorCode::invalid_params,
              fmt::format("prompt \"{}\" needs the argument \"{}\"", name, argument.name)});
  }
  auto call = start_call(r, std::move(name));
  if (!call) return;
  run(r, call, entry->pace, [entry, arguments = std::move(*arguments)](Call& c) {
    const GetPromptResult result = entry->handler(arguments, c);
    c.finish_text(to_text(result, c.protocol_version()));
  });
}

void Session::complete(Request& r) {
  auto object = [](std::string_view text) {
    return text.starts_with('{') ? parse_scanned(text).value_or(Json()) : Json();
  };
  const Json ref = object(r.ref), argument = object(r.argument), context = object(r.context);
  const std::string type = text_of(ref, "type"), name = text_of(argument, "name");
  if ((type != "ref/prompt" && type != "ref/resource") || name.empty())
    return fail_request(r, {ErrorCode::invalid_params,
                            "completion/complete needs params.ref with type \"ref/prompt\" (and "
                            "name) or \"ref/resource\" (and uri), and params.argument with name "
                            "and value"});
  const auto catalog = server_->catalog();
  std::string owner = text_of(ref, type == "ref/prompt" ? "name" : "uri");
  if (type == "ref/prompt" && !catalog->find_prompt(owner))
    return fail_request(
        r, {ErrorCode::invalid_params, fmt::format("unknown prompt \"{}\"", owner.substr(0, 80))});
  const Completer* completer = catalog->find_completer(owner, name);
  const Json* settled = member(context, "arguments");
  auto arguments = string_arguments(settled ? to_text(*settled) : "", "params.context.arguments");
  if (!arguments) return fail_request(r, arguments.error());
  if (!completer) return respond(r, R"({"completion":{"values":[]}})");
  auto call = start_call(r, std::move(owner));
  if (!call) return;
  run(r, call, nullptr,
      [catalog, completer, arguments = std::move(*arguments),
       value = text_of(argument, "value")](Call& c) {
        c.finish_text(fmt::format(R"({{"completion":{}}})",
                                  to_text(to_json((*completer)(value, arguments)))));
      });
}

}  // namespace gpumcp::mcp
