#include "text/jinja/interpreter.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/jinja/builtins.h"

namespace arkit::text::jinja {
namespace {

constexpr int64_t kLoopSteps = 10;  // an iteration costs more than an expression: it has a scope
constexpr int kMaxCalls = 100;      // nested macro calls

// Variables of one block. Assignments stay in it; look-ups go outwards.
struct Scope {
  using Variable = std::pair<std::string_view, Value>;
  std::vector<Variable, Allocator<Variable>> variables;
  Scope* outer = nullptr;
  bool kept = false;  // a macro refers to it: the next iteration needs another

  [[nodiscard]] const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer)
      if (const Variable* own = scope->find_own(name)) return &own->second;
    return nullptr;
  }
  void set(std::string_view name, const Value& value) {
    if (const Variable* own = find_own(name))
      const_cast<Variable*>(own)->second = value;  // this is not const
    else
      variables.emplace_back(name, value);
  }

 private:
  [[nodiscard]] const Variable* find_own(std::string_view name) const {
    size_t seen = 0;
    for (const Variable& variable : variables) {
      if (variable.first == name) return &variable;
      if (++seen % 16 == 0) Budget::current().work();  // templates have a dozen; a thousand are an attack
    }
    return nullptr;
  }
};

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
  if (value.is_undefined()) fail(std::string(value.hint()));
}

Value numeric(std::string_view op, const Value& a, const Value& b) {
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

Value repeated(const Value& value, int64_t times) {
  if (!value.truthy() || times <= 0) return value.is_string() ? Value::text("") : Value::list({}, value.list()->tuple);
  const size_t size = value.is_string() ? value.string().size() : value.list()->items.size();
  if (times > kMaxSize / static_cast<int64_t>(size)) fail(str("a value of more than ", kMaxSize, " bytes or items"));
  if (value.is_string()) {
    Text out;
    if (size == 1) out.append(static_cast<size_t>(times), value.string().front());
    for (int64_t i = 0; size > 1 && i < times; ++i) out += value.string();
    return Value::text(out.finish());
  }
  Values items;
  items.reserve(size * static_cast<size_t>(times));
  Budget::current().scan(sizeof(Value) * items.capacity());
  for (int64_t i = 0; i < times; ++i) items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  return Value::list(items, value.list()->tuple);
}

Value concatenated(const List& a, const List& b) {
  Values items;
  items.reserve(a.items.size() + b.items.size());
  Budget::current().scan(sizeof(Value) * items.capacity());
  items.insert(items.end(), a.items.begin(), a.items.end());
  items.insert(items.end(), b.items.begin(), b.items.end());
  return Value::list(items, a.tuple);
}

Value binary(std::string_view op, const Value& a, const Value& b) {
  if (op == "~") return Value::text(joined_text(to_text(a), to_text(b)));
  check_operand(a);
  if (op == "%" && a.is_string())
    return format_percent(a.string(), b.list() != nullptr && b.list()->tuple ? b.list()->items : Items(&b, 1));
  check_operand(b);
  if (a.is_number() && b.is_number()) return numeric(op, a, b);
  if (op == "+" && a.is_string() && b.is_string()) return Value::text(joined_text(a.string(), b.string()));
  if (op == "+" && a.list() != nullptr && b.list() != nullptr && a.list()->tuple == b.list()->tuple)
    return concatenated(*a.list(), *b.list());
  const auto sequence = [](const Value& v) { return v.is_string() || v.list() != nullptr; };
  if (op == "*" && sequence(a) && b.is_integer()) return repeated(a, b.integer());
  if (op == "*" && a.is_integer() && sequence(b)) return repeated(b, a.integer());
  fail(str("unsupported operand types for ", op, ": '", a.type_name(), "' and '", b.type_name(), "'"));
}

// Python's slice of a list or string.
Value sliced(const Value& object, const Value& start, const Value& stop, const Value& step_given) {
  check_operand(object);
  if (object.list() == nullptr && !object.is_string()) fail(str("'", object.type_name(), "' cannot be sliced"));
  const int64_t size = length(object);
  const int64_t step = step_given.is_none() ? 1 : step_given.integer();
  if (step == 0) fail("slice step cannot be zero");
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto bound = [&](const Value& given, int64_t otherwise) {
    if (given.is_none()) return otherwise;
    const int64_t index = given.integer() < 0 ? given.integer() + size : given.integer();
    return std::clamp(index, low, high);
  };
  const int64_t first = bound(start, step > 0 ? low : high), last = bound(stop, step > 0 ? high : low);
  if (step == 1) {  // a view
    const auto count = static_cast<size_t>(std::max<int64_t>(last - first, 0));
    if (object.list() != nullptr)
      return Value::list(object.list()->items.subspan(static_cast<size_t>(first), count), object.list()->tuple);
    const std::string_view rest = object.string().substr(character_offset(object.string(), first));
    return Value::text(rest.substr(0, character_offset(rest, static_cast<int64_t>(count))));
  }
  // A step beyond the size selects one item at most; clamping it keeps the sum in range.
  const int64_t stride = std::clamp(step, -size - 1, size + 1);
  const Items items = iterate(object);
  Values out;
  for (int64_t i = first; step > 0 ? i < last : i > last; i += stride) out.push_back(items[static_cast<size_t>(i)]);
  Budget::current().scan(sizeof(Value) * out.size());
  if (object.list() != nullptr) return Value::list(out, object.list()->tuple);
  Text text;
  for (const Value& item : out) text += item.string();
  return Value::text(text.finish());
}

class Interpreter {
 public:
  std::string_view run(const Body& body, const json::Object& context) {
    Scope root;
    for (const auto& member : context) root.set(member.key(), from_json(member.value()));
    Text out;
    (void)execute(body, root, out);
    return out.view();
  }

 private:
  static Scope& inside(Scope& outer) {
    Scope* scope = make_lasting(Scope{});
    scope->outer = &outer;
    return *scope;
  }

  Flow execute(const Body& body, Scope& scope, Text& out) {
    for (const auto& stmt : body)
      if (const Flow flow = execute(*stmt, scope, out); flow != Flow::normal) return flow;
    return Flow::normal;
  }

  Flow execute(const Stmt& stmt, Scope& scope, Text& out) {
    const Budget::Level level;
    Budget::current().work();
    switch (stmt.kind) {
      case Stmt::Kind::text:
        out += stmt.text;
        return Flow::normal;
      case Stmt::Kind::output:
        write(out, evaluate(*stmt.exprs[0], scope));
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
        Text text;
        const Flow flow = execute(stmt.bodies[0], inside(scope), text);
        assign(*stmt.target, Value::text(text.finish()), scope);
        return flow;
      }
      case Stmt::Kind::macro:
        scope.set(stmt.text, make_macro(stmt, scope));
        return Flow::normal;
      case Stmt::Kind::call_block:
        write(out, call_with_caller(stmt, scope));
        return Flow::normal;
      case Stmt::Kind::with: {
        Scope& inner = inside(scope);
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

  Flow branch(const Stmt& stmt, Scope& scope, Text& out) {
    for (size_t i = 0; i < stmt.exprs.size(); ++i)
      if (evaluate(*stmt.exprs[i], scope).truthy()) return execute(stmt.bodies[i], scope, out);
    if (stmt.bodies.size() > stmt.exprs.size()) return execute(stmt.bodies.back(), scope, out);
    return Flow::normal;
  }

  void loop(const Stmt& stmt, Scope& scope, Text& out) {
    const Items items = wanted_items(stmt, iterate(evaluate(*stmt.exprs[0], scope)), scope);
    Object* const variable = make_lasting(Object{});
    variable->items = items;
    Scope* body = &inside(scope);
    for (size_t i = 0; i < items.size(); ++i) {
      Budget::current().work(kLoopSteps);
      if (body->kept) body = &inside(scope);
      body->variables.clear();
      variable->index = i;
      body->set("loop", variable);
      assign(*stmt.target, items[i], *body);
      if (execute(stmt.bodies[0], *body, out) == Flow::break_loop) break;
    }
    if (items.empty() && stmt.bodies.size() > 1) (void)execute(stmt.bodies[1], inside(scope), out);
  }

  // Those for which the loop's condition holds.
  Items wanted_items(const Stmt& stmt, Items items, Scope& scope) {
    if (stmt.exprs[1] == nullptr) return items;
    Values kept;
    Scope* test = &inside(scope);
    for (const Value& item : items) {
      Budget::current().work();
      test->variables.clear();
      assign(*stmt.target, item, *test);
      if (evaluate(*stmt.exprs[1], *test).truthy()) kept.push_back(item);
    }
    return kept;
  }

  static void write(Text& out, const Value& value) { out += to_text(value); }

  void assign(const Expr& target, const Value& value, Scope& scope) {
    if (target.kind == Expr::Kind::name) {
      scope.set(target.text, value);
    } else if (target.kind == Expr::Kind::attribute) {
      const Value object = evaluate(*target.children[0], scope);
      if (object.object() == nullptr || !object.object()->is_namespace)
        fail(str("line ", target.line, ": cannot assign attribute '", target.text, "' on a non-namespace object"));
      object.object()->attributes[target.text] = value;
    } else {
      const Items parts = iterate(value);
      if (parts.size() != target.children.size())
        fail(str("line ", target.line, ": expected ", target.children.size(), " values to unpack, got ", parts.size()));
      for (size_t i = 0; i < parts.size(); ++i) assign(*target.children[i], parts[i], scope);
    }
  }

  // A macro sees the scope it was written in, as it is when it is called.
  Value make_macro(const Stmt& stmt, Scope& scope) {
    for (Scope* kept = &scope; kept != nullptr && !kept->kept; kept = kept->outer) kept->kept = true;
    return make_lasting(
        Callable{.name = stmt.text, .function = run_macro, .code = &stmt, .scope = &scope, .interpreter = this});
  }
  static Value run_macro(const Callable& self, Items positional, const Named& named) {
    return static_cast<Interpreter*>(self.interpreter)
        ->call_macro(*static_cast<const Stmt*>(self.code), *static_cast<Scope*>(self.scope), positional, named);
  }

  Value call_macro(const Stmt& stmt, Scope& outer, Items positional, const Named& named) {
    if (++calls_ > kMaxCalls) fail(str("macros call each other more than ", kMaxCalls, " deep"));
    Scope& scope = inside(outer);
    const std::string_view function = stmt.text.empty() ? "caller" : std::string_view(stmt.text);
    Named own;
    for (const auto& argument : named) {
      if (argument.first == "caller" && stmt.kind == Stmt::Kind::macro)
        scope.set("caller", argument.second);
      else
        own.push_back(argument);
    }
    Arguments arguments(function, positional, own);
    for (const Parameter& parameter : stmt.parameters) {
      Budget::current().work(1 + static_cast<int64_t>(own.size()));
      if (const Value* given = arguments.next(parameter.name))
        scope.set(parameter.name, *given);
      else if (parameter.otherwise != nullptr)
        scope.set(parameter.name, evaluate(*parameter.otherwise, scope));
      else
        scope.set(parameter.name, Value::undefined(joined_text("parameter '", parameter.name, "' was not provided")));
    }
    arguments.finish();
    Text out;
    (void)execute(stmt.bodies[0], scope, out);
    --calls_;
    return Value::text(out.finish());
  }

  Value call_with_caller(const Stmt& stmt, Scope& scope) {
    const Expr& call = *stmt.exprs[0];
    const Value callee = evaluate(*call.children[0], scope);
    auto [positional, named] = arguments_of(call, scope);
    named.emplace_back("caller", make_macro(stmt, scope));
    return invoke(callee, positional, named);
  }

  static Value invoke(const Value& callee, Items positional, const Named& named) {
    if (callee.is_undefined()) fail(std::string(callee.hint()));
    if (callee.callable() == nullptr) fail(str("'", callee.type_name(), "' object is not callable"));
    return callee.callable()->function(*callee.callable(), positional, named);
  }

  // Positional arguments after children[0], and the named ones.
  std::pair<Values, Named> arguments_of(const Expr& expr, Scope& scope) {
    std::pair<Values, Named> out;
    for (size_t i = 1; i < expr.children.size(); ++i) out.first.push_back(evaluate(*expr.children[i], scope));
    for (const auto& [name, value] : expr.named) out.second.emplace_back(name, evaluate(*value, scope));
    return out;
  }

  Value evaluate(const Expr& expr, Scope& scope) {
    const Budget::Level level;
    Budget::current().work();
    const auto child = [&](size_t i) { return evaluate(*expr.children[i], scope); };
    const auto optional = [&](size_t i) { return expr.children[i] == nullptr ? Value(None{}) : child(i); };
    switch (expr.kind) {
      case Expr::Kind::constant:
        return expr.value;
      case Expr::Kind::name: {
        const Value* found = scope.find(expr.text);
        return found != nullptr ? *found : global_function(expr.text);
      }
      case Expr::Kind::list:
      case Expr::Kind::tuple: {
        Values items;
        items.reserve(expr.children.size());
        for (size_t i = 0; i < expr.children.size(); ++i) items.push_back(child(i));
        return Value::list(items, expr.kind == Expr::Kind::tuple);
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

  Value compare_chain(const Expr& expr, Scope& scope) {
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

  int calls_ = 0;
};

}  // namespace

std::string render(const Body& body, const json::Object& context) {
  Budget budget(bytes_of(context));
  return std::string(Interpreter().run(body, context));
}

}  // namespace arkit::text::jinja
