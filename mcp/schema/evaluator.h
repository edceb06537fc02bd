// Checks one value against a Program. First without messages, which stops at the first failure;
// where that fails, once more to gather issues. Owned by the caller's stack and used by its thread.
//
// Bounded by steps, which count subschemas applied, bytes compared and matched, members marked as
// evaluated and messages written, and by the depth of
// subschemas within one another; past a bound it stops, and the value counts as refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mcp/json_schema.h"
#include "mcp/json_type.h"
#include "mcp/schema/program.h"

namespace gpumcp::mcp::schema {

class Evaluator {
 public:
  // `issues`: where messages go, up to `max_issues`; nullptr for none.
  Evaluator(const Program& program, std::size_t max_steps,
            std::vector<SchemaIssue>* issues = nullptr, std::size_t max_issues = 0)
      : program_(program), steps_left_(max_steps), sink_(issues), sink_limit_(max_issues) {}

  bool run(const Json& value, std::string_view root);
  // Which bound was met: a sentence for a message; empty if none was.
  const std::string& stopped() const { return stopped_; }

 private:
  // The resources that were entered on the way here, innermost first, each once.
  struct Scope {
    const Scope* outer;
    ResourceId resource;
  };
  struct Place {
    const Json& value;
    const JsonPath& path;
    const Scope* scope;
    int depth;
  };
  // Which members or items "unevaluatedProperties" and "unevaluatedItems" leave alone.
  class Marks {
   public:
    explicit Marks(const Json& value) : seen_(value.is_structured() ? value.size() : 0) {}
    void set(std::size_t i) { seen_[i] = true; }
    bool has(std::size_t i) const { return seen_[i]; }
    void set_all() { seen_.assign(seen_.size(), true); }
    void add(const Marks& other) {
      for (std::size_t i = 0; i < seen_.size(); ++i) seen_[i] = seen_[i] || other.seen_[i];
    }

   private:
    std::vector<bool> seen_;
  };
  // Sends messages elsewhere, or nowhere, for as long as it lives.
  class Redirect {
   public:
    Redirect(Evaluator& evaluator, std::vector<SchemaIssue>* sink, std::size_t limit)
        : evaluator_(evaluator), sink_(evaluator.sink_), limit_(evaluator.sink_limit_) {
      evaluator.sink_ = sink;
      evaluator.sink_limit_ = limit;
    }
    Redirect(const Redirect&) = delete;
    Redirect& operator=(const Redirect&) = delete;
    ~Redirect() {
      evaluator_.sink_ = sink_;
      evaluator_.sink_limit_ = limit_;
    }

   private:
    Evaluator& evaluator_;
    std::vector<SchemaIssue>* sink_;
    std::size_t limit_;
  };

  // `marks` receives what was evaluated; nullptr where nobody asks.
  bool evaluate(NodeId id, const Place& at, Marks* marks);
  bool apply(NodeId id, const Place& at, Marks* marks);
  bool evaluate_quietly(NodeId id, const Place& at, Marks* marks);

  // --- one value (evaluator.cpp)
  bool check_type(NodeId id, const Place& at);
  bool check_enums(NodeId id, const Place& at);
  bool check_number(NodeId id, const Place& at);
  bool check_string(NodeId id, const Place& at);

  // --- containers (evaluator_containers.cpp)
  bool check_array(NodeId id, const Place& at, Marks* marks);
  bool check_contains(NodeId id, const Place& at, Marks* marks);
  bool check_unique(NodeId id, const Place& at);
  bool check_object(NodeId id, const Place& at, Marks* marks);
  bool check_member(NodeId id, const Place& at, const std::string& key, const Json& member,
                    bool& evaluated);
  bool check_required(NodeId id, const Place& at);
  bool check_unevaluated(NodeId id, const Place& at, Marks& marks);

  // --- schemas for the same value (evaluator_in_place.cpp)
  bool check_in_place(NodeId id, const Place& at, Marks* marks);
  bool check_any(NodeId id, const Place& at, Marks* marks);
  bool check_one(NodeId id, const Place& at, Marks* marks);
  bool check_condition(NodeId id, const Place& at, Marks* marks);
  NodeId dynamic_target(const Node& node, const Scope* scope);
  std::string alternatives(const std::vector<NodeId>& branches,
                           const std::vector<SchemaIssue>& reasons, const Place& at) const;

  bool spend(std::size_t steps);
  bool spend_marks(const Json& value) {
    return spend(value.is_structured() ? value.size() / 32 : 0);
  }
  bool stop(std::string why);
  // Whether to go on after a result: until the first failure, or while issues are gathered.
  bool go_on(bool& ok, bool result) const {
    ok = ok && result;
    return ok || (sink_ && sink_->size() < sink_limit_ && stopped_.empty());
  }
  // `what` follows the path: ": expected …" or " is missing". Always false.
  bool report(NodeId id, std::string_view keyword, const JsonPath& path, std::string_view what);
  bool expected(NodeId id, std::string_view keyword, const Place& at, std::string_view what);
  bool unknown_member(NodeId id, std::string_view keyword, const Place& at, const std::string& key);

  const Program& program_;
  std::size_t steps_left_;
  std::vector<SchemaIssue>* sink_;
  std::size_t sink_limit_;
  std::string stopped_;
};

// "arguments.texts[3]"; keys that are no plain names stand in brackets and quotes.
std::string path_text(const JsonPath& path);
// "a string or null"
std::string types_text(std::uint8_t types);

}  // namespace gpumcp::mcp::schema
