#include "text/jinja/interpreter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/jinja/builtins.h"

namespace arkit::text::jinja {
namespace {

constexpr int64_t kMaxSteps = 2'000'000;  // a long conversation takes some ten thousand
constexpr int64_t kLoopSteps = 10;        // an iteration costs more than an expression: it has a scope
constexpr int kMaxCalls = 100;            // nested macro calls
constexpr int kMaxDepth = 1500;           // nested evaluations, whatever nests them: the stack is finite

// Variables of one block. Assignments stay in it; look-ups go outwards.
struct Scope {
  std::map<std::string, Value, std::less<>> variables;
  std::shared_ptr<Scope> outer;

  [[nodiscard]] const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get()) {
      const auto found = scope->variables.find(name);
      if (found != scope->variables.end()) return &found->second;
    }
    return nullptr;
  }
};
using ScopePtr = std::shared_ptr<Scope>;

enum class Flow { normal, break_loop, continue_loop };

// `value` is read after the operation that tells `overflow` has written it: hence the reference.
int64_t checked(bool overflow, const int64_t& value) {
  if (overflow) fail("integer overflow");
  return value;
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) {
    int64_t negated = 0;
    return checked(__builtin_sub_overflow(int64_t{0}, a, &negated), negated);
  }
  const int64_t quotient = a / b;
  return a % b != 0 && (a % b < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = checked(__builtin_mul_overflow(result, base, &result), result);
    if (exponent > 1) base = checked(__builtin_mul_overflow(base, base, &base), base);
  }
  return result;
}

void check_operand(const Value& value) {
  if (const auto* missing = value.get<Undefined>()) fail(missing->hint);
}

Value numeric(const std::string& op, const Value& a, const Value& b) {
  const bool integers = a.is_integer() && b.is_integer();
  const double x = a.number(), y = b.number();
  if (op == "/") {
    if (y == 0) fail("division by zero");
    return x / y;
  }
  if (integers && !(op == "**" && b.integer() < 0)) {
    const int64_t i = a.integer(), j = b.integer();
    int64_t result = 0;
    if (op == "+") return checked(__builtin_add_overflow(i, j, &result), result);
    if (op == "-") return checked(__builtin_sub_overflow(i, j, &result), result);
    if (op == "*") return checked(__builtin_mul_overflow(i, j, &result), result);
    if (op == "//") return floor_divide(i, j);
    if (op == "%") return j == -1 ? 0 : i - floor_divide(i, j) * j;
    return integer_power(i, j);
  }
  if (op == "+") return x + y;
  if (op == "-") return x - y;
  if (op == "*") return x * y;
  if (op == "**") return std::pow(x, y);
  if (y == 0) fail("float division by zero");
  return op == "//" ? std::floor(x / y) : x - std::floor(x / y) * y;
}

void check_size(int64_t size) {
  if (size > kMaxSize) fail(str("a value of more than ", kMaxSize, " characters or items"));
}

Value repeated(const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const auto size =
      static_cast<int64_t>(value.string() != nullptr ? value.string()->size() : value.list()->items.size());
  if (size > 0 && times > kMaxSize / size) check_size(kMaxSize + 1);
  if (value.string() != nullptr) {
    std::string out;
    for (int64_t i = 0; i < times; ++i) out += *value.string();
    return out;
  }
  Values items;
  for (int64_t i = 0; i < times; ++i) items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  return Value::list(std::move(items), value.list()->tuple);
}

Value binary(const std::string& op, const Value& a, const Value& b) {
  if (op == "~") {
    check_size(static_cast<int64_t>(to_text(a).size() + to_text(b).size()));
    return to_text(a) + to_text(b);
  }
  check_operand(a);
  if (op == "%" && a.string() != nullptr)
    return format_percent(*a.string(), b.list() != nullptr && b.list()->tuple ? b.list()->items : Values{b});
  check_operand(b);
  if (a.is_number() && b.is_number()) return numeric(op, a, b);
  if (op == "+" && a.string() != nullptr && b.string() != nullptr) {
    check_size(static_cast<int64_t>(a.string()->size() + b.string()->size()));
    return *a.string() + *b.string();
  }
  if (op == "+" && a.list() != nullptr && b.list() != nullptr && a.list()->tuple == b.list()->tuple) {
    Values items = a.list()->items;
    check_size(static_cast<int64_t>(items.size() + b.list()->items.size()));
    items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
    return Value::list(std::move(items), a.list()->tuple);
  }
  const auto sequence = [](const Value& v) { return v.string() != nullptr || v.list() != nullptr; };
  if (op == "*" && sequence(a) && b.is_integer()) return repeated(a, b.integer());
  if (op == "*" && a.is_integer() && sequence(b)) return repeated(b, a.integer());
  fail(str("unsupported operand types for ", op, ": '", a.type_name(), "' and '", b.type_name(), "'"));
}

// Python's slice of a list or string.
Value sliced(const Value& object, const Value& start, const Value& stop, const Value& step_given) {
  check_operand(object);
  if (object.list() == nullptr && object.string() == nullptr) fail(str("'", object.type_name(), "' cannot be sliced"));
  const Values items = iterate(object);
  const auto size = static_cast<int64_t>(items.size());
  const int64_t step = step_given.is_none() ? 1 : step_given.integer();
  if (step == 0) fail("slice step cannot be zero");
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto bound = [&](const Value& given, int64_t otherwise) {
    if (given.is_none()) return otherwise;
    const int64_t index = given.integer() < 0 ? given.integer() + size : given.integer();
    return std::clamp(index, low, high);
  };
  const int64_t first = bound(start, step > 0 ? low : high), last = bound(stop, step > 0 ? high : low);
  Values out;
  // A step beyond the size selects one item at most; clamping it keeps the sum in range.
  const int64_t stride = std::clamp(step, -size - 1, size + 1);
  for (int64_t i = first; step > 0 ? i < last : i > last; i += stride) out.push_back(items[static_cast<size_t>(i)]);
  if (object.list() != nullptr) return Value::list(std::move(out), object.list()->tuple);
  std::string text;
  for (const Value& item : out) text += *item.string();
  return text;
}

class Interpreter {
 public:
  std::string run(const Body& body, const Dict& context) {
    auto root = std::make_shared<Scope>();
    for (const auto& [name, value] : context.items) root->variables[to_text(name)] = value;
    std::string out;
    (void)execute(body, root, out);
    return out;
  }

 private:
  void step(int line, int64_t cost = 1) {
    if ((steps_ += cost) > kMaxSteps) fail(str("line ", line, ": it runs for more than ", kMaxSteps, " steps"));
  }
  static ScopePtr inside(const ScopePtr& outer) {
    auto scope = std::make_shared<Scope>();
    scope->outer = outer;
    return scope;
  }
  static void write(std::string& out, const std::string& text) {
    check_size(static_cast<int64_t>(out.size() + text.size()));
    out += text;
  }

  Flow execute(const Body& body, const ScopePtr& scope, std::string& out) {
    for (const auto& stmt : body)
      if (const Flow flow = execute(*stmt, scope, out); flow != Flow::normal) return flow;
    return Flow::normal;
  }

  Flow execute(const Stmt& stmt, const ScopePtr& scope, std::string& out) {
    step(stmt.line);
    switch (stmt.kind) {
      case Stmt::Kind::text:
        write(out, stmt.text);
        return Flow::normal;
      case Stmt::Kind::output:
        write(out, to_text(evaluate(*stmt.exprs[0], scope)));
        return Flow::normal;
      case Stmt::Kind::branch:
        return branch(stmt, scope, out);
      case Stmt::Kind::loop:
        loop(stmt, scope, out);
        return Flow::normal;
      case Stmt::Kind::set:
        assign(*stmt.target, evaluate(*stmt.exprs[0], scope), scope);
        return Flow::normal;
      case Stmt::Kind::set_block: {
        std::string text;
        const Flow flow = execute(stmt.bodies[0], inside(scope), text);
        assign(*stmt.target, std::move(text), scope);
        return flow;
      }
      case Stmt::Kind::macro:
        scope->variables[stmt.text] = make_macro(stmt, scope);
        return Flow::normal;
      case Stmt::Kind::call_block:
        write(out, to_text(call_with_caller(stmt, scope)));
        return Flow::normal;
      case Stmt::Kind::with: {
        const ScopePtr inner = inside(scope);
        for (size_t i = 0; i < stmt.targets.size(); ++i)
          assign(*stmt.targets[i], evaluate(*stmt.exprs[i], scope), inner);
        return execute(stmt.bodies[0], inner, out);
      }
      case Stmt::Kind::group:
        return execute(stmt.bodies[0], scope, out);
      case Stmt::Kind::break_loop:
        return Flow::break_loop;
      case Stmt::Kind::continue_loop:
        return Flow::continue_loop;
    }
    return Flow::normal;
  }

  Flow branch(const Stmt& stmt, const ScopePtr& scope, std::string& out) {
    for (size_t i = 0; i < stmt.exprs.size(); ++i)
      if (evaluate(*stmt.exprs[i], scope).truthy()) return execute(stmt.bodies[i], scope, out);
    if (stmt.bodies.size() > stmt.exprs.size()) return execute(stmt.bodies.back(), scope, out);
    return Flow::normal;
  }

  static std::shared_ptr<Object> loop_variable(const Values& items, size_t i) {
    auto loop = std::make_shared<Object>();
    const auto index = static_cast<int64_t>(i), size = static_cast<int64_t>(items.size());
    auto& a = loop->attributes;
    a["index"] = index + 1;
    a["index0"] = index;
    a["revindex"] = size - index;
    a["revindex0"] = size - index - 1;
    a["length"] = size;
    a["first"] = i == 0;
    a["last"] = i + 1 == items.size();
    a["depth"] = int64_t{1};
    a["depth0"] = int64_t{0};
    a["previtem"] = i > 0 ? items[i - 1] : Value::undefined("there is no previous item");
    a["nextitem"] = i + 1 < items.size() ? items[i + 1] : Value::undefined("there is no next item");
    a["cycle"] = Value::callable("cycle", [index](const Values& values, const Named&) -> Value {
      if (values.empty()) fail("no items for cycling given");
      return values[static_cast<size_t>(index) % values.size()];
    });
    return loop;
  }

  void loop(const Stmt& stmt, const ScopePtr& scope, std::string& out) {
    Values items = iterate(evaluate(*stmt.exprs[0], scope));
    if (stmt.exprs[1] != nullptr) {
      Values kept;
      for (Value& item : items) {
        const ScopePtr test = inside(scope);
        assign(*stmt.target, item, test);
        if (evaluate(*stmt.exprs[1], test).truthy()) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    for (size_t i = 0; i < items.size(); ++i) {
      step(stmt.line, kLoopSteps);
      const ScopePtr body = inside(scope);
      body->variables["loop"] = loop_variable(items, i);
      assign(*stmt.target, items[i], body);
      if (execute(stmt.bodies[0], body, out) == Flow::break_loop) break;
    }
    if (items.empty() && stmt.bodies.size() > 1) (void)execute(stmt.bodies[1], inside(scope), out);
  }

  void assign(const Expr& target, Value value, const ScopePtr& scope) {
    if (target.kind == Expr::Kind::name) {
      scope->variables[target.text] = std::move(value);
    } else if (target.kind == Expr::Kind::attribute) {
      const Value object = evaluate(*target.children[0], scope);
      if (object.object() == nullptr || !object.object()->is_namespace)
        fail(str("line ", target.line, ": cannot assign attribute '", target.text, "' on a non-namespace object"));
      object.object()->attributes[target.text] = std::move(value);
    } else {
      const Values parts = iterate(value);
      if (parts.size() != target.children.size())
        fail(str("line ", target.line, ": expected ", target.children.size(), " values to unpack, got ", parts.size()));
      for (size_t i = 0; i < parts.size(); ++i) assign(*target.children[i], parts[i], scope);
    }
  }

  // A macro sees the scope it was written in, as it is when it is called. The scope is held weakly: it holds the macro.
  Value make_macro(const Stmt& stmt, const ScopePtr& scope) {
    const std::weak_ptr<Scope> defined_in = scope;
    return Value::callable(stmt.text, [this, &stmt, defined_in](const Values& positional, const Named& named) {
      const ScopePtr outer = defined_in.lock();
      if (outer == nullptr) fail(str("the macro '", stmt.text, "' is called outside the block that defines it"));
      return call_macro(stmt, outer, positional, named);
    });
  }

  Value call_macro(const Stmt& stmt, const ScopePtr& outer, const Values& positional, const Named& named) {
    if (++calls_ > kMaxCalls) fail(str("macros call each other more than ", kMaxCalls, " deep"));
    const ScopePtr scope = inside(outer);
    const std::string function = stmt.text.empty() ? "caller" : stmt.text;
    Named own;
    for (const auto& argument : named) {
      if (argument.first == "caller" && stmt.kind == Stmt::Kind::macro)
        scope->variables["caller"] = argument.second;
      else
        own.push_back(argument);
    }
    Arguments arguments(function, positional, own);
    for (const Parameter& parameter : stmt.parameters) {
      if (const Value* given = arguments.next(parameter.name))
        scope->variables[parameter.name] = *given;
      else if (parameter.otherwise != nullptr)
        scope->variables[parameter.name] = evaluate(*parameter.otherwise, scope);
      else
        scope->variables[parameter.name] = Value::undefined(str("parameter '", parameter.name, "' was not provided"));
    }
    arguments.finish();
    std::string out;
    (void)execute(stmt.bodies[0], scope, out);
    --calls_;
    return out;
  }

  Value call_with_caller(const Stmt& stmt, const ScopePtr& scope) {
    const Expr& call = *stmt.exprs[0];
    const Value callee = evaluate(*call.children[0], scope);
    auto [positional, named] = arguments_of(call, scope);
    named.emplace_back("caller", Value::callable("caller", [this, &stmt, scope](const Values& p, const Named& n) {
                         return call_macro(stmt, scope, p, n);
                       }));
    return invoke(callee, positional, named);
  }

  static Value invoke(const Value& callee, const Values& positional, const Named& named) {
    if (const auto* missing = callee.get<Undefined>()) fail(missing->hint);
    if (callee.callable() == nullptr) fail(str("'", callee.type_name(), "' object is not callable"));
    return callee.callable()->call(positional, named);
  }

  // Positional arguments after children[0], and the named ones.
  std::pair<Values, Named> arguments_of(const Expr& expr, const ScopePtr& scope) {
    std::pair<Values, Named> out;
    for (size_t i = 1; i < expr.children.size(); ++i) out.first.push_back(evaluate(*expr.children[i], scope));
    for (const auto& [name, value] : expr.named) out.second.emplace_back(name, evaluate(*value, scope));
    return out;
  }

  struct Depth {
    explicit Depth(int& depth) : value(depth) {
      if (++value > kMaxDepth) fail("its expressions and macros are nested too deeply");
    }
    ~Depth() { --value; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    int& value;
  };

  Value evaluate(const Expr& expr, const ScopePtr& scope) {
    step(expr.line);
    const Depth depth(depth_);
    const auto child = [&](size_t i) { return evaluate(*expr.children[i], scope); };
    const auto optional = [&](size_t i) { return expr.children[i] == nullptr ? Value(None{}) : child(i); };
    switch (expr.kind) {
      case Expr::Kind::constant:
        return expr.value;
      case Expr::Kind::name: {
        const Value* found = scope->find(expr.text);
        return found != nullptr ? *found : global_function(expr.text);
      }
      case Expr::Kind::list:
      case Expr::Kind::tuple: {
        Values items;
        for (size_t i = 0; i < expr.children.size(); ++i) items.push_back(child(i));
        return Value::list(std::move(items), expr.kind == Expr::Kind::tuple);
      }
      case Expr::Kind::dict: {
        Dict dict;
        for (size_t i = 0; i + 1 < expr.children.size(); i += 2) dict.set(child(i), child(i + 1));
        return Value::dict(std::move(dict));
      }
      case Expr::Kind::negate: {
        const Value value = child(0);
        return value.is_integer() ? numeric("-", 0, value) : Value(-value.number());
      }
      case Expr::Kind::positive: {
        const Value value = child(0);
        return value.is_integer() ? Value(value.integer()) : Value(value.number());
      }
      case Expr::Kind::logical_not:
        return !child(0).truthy();
      case Expr::Kind::binary:
        return binary(expr.ops[0], child(0), child(1));
      case Expr::Kind::logical_and: {
        Value left = child(0);
        return left.truthy() ? child(1) : left;
      }
      case Expr::Kind::logical_or: {
        Value left = child(0);
        return left.truthy() ? left : child(1);
      }
      case Expr::Kind::compare:
        return compare_chain(expr, scope);
      case Expr::Kind::condition:
        if (child(1).truthy()) return child(0);
        return expr.children[2] == nullptr
                   ? Value::undefined("the inline if-expression evaluated to false and no else was given")
                   : child(2);
      case Expr::Kind::attribute:
        return get_attribute(child(0), expr.text);
      case Expr::Kind::item:
        return get_item(child(0), child(1));
      case Expr::Kind::slice:
        return sliced(child(0), optional(1), optional(2), optional(3));
      case Expr::Kind::call: {
        const Value callee = child(0);
        const auto [positional, named] = arguments_of(expr, scope);
        return invoke(callee, positional, named);
      }
      case Expr::Kind::filter: {
        const Value input = child(0);
        const auto [positional, named] = arguments_of(expr, scope);
        return apply_filter(expr.text, input, positional, named);
      }
      case Expr::Kind::test: {
        const Value input = child(0);
        return apply_test(expr.text, input, arguments_of(expr, scope).first);
      }
    }
    return None{};
  }

  Value compare_chain(const Expr& expr, const ScopePtr& scope) {
    Value left = evaluate(*expr.children[0], scope);
    for (size_t i = 0; i < expr.ops.size(); ++i) {
      Value right = evaluate(*expr.children[i + 1], scope);
      const std::string& op = expr.ops[i];
      const bool holds = op == "=="       ? equal(left, right)
                         : op == "!="     ? !equal(left, right)
                         : op == "in"     ? contains(right, left)
                         : op == "not in" ? !contains(right, left)
                         : op == "<"      ? compare(left, right) < 0
                         : op == "<="     ? compare(left, right) <= 0
                         : op == ">"      ? compare(left, right) > 0
                                          : compare(left, right) >= 0;
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  int64_t steps_ = 0;
  int calls_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string render(const Body& body, const Dict& context) {
  return Interpreter().run(body, context);
}

}  // namespace arkit::text::jinja
