#pragma once
// Syntax tree of a template.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace arkit::text::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

// Which members are used, by kind:
//   constant   value; text of a string         name       text
//   list, tuple   children                    dict       children: key, value, key, value ...
//   negate, positive, logical_not   children[0]
//   binary     ops[0], children[0], children[1]          logical_and, logical_or   children[0], children[1]
//   compare    children[0] ops[0] children[1] ops[1] ... (chained as in Python)
//   condition  children: value, test, other (may be null)
//   attribute  children[0], text              item       children[0], children[1]
//   slice      children: object, start, stop, step (each of the last three may be null)
//   call, filter, test   children[0] = callee or input, then arguments; named; text = name of filter or test
struct Expr {
  enum class Kind {
    constant,
    name,
    list,
    tuple,
    dict,
    negate,
    positive,
    logical_not,
    binary,
    logical_and,
    logical_or,
    compare,
    condition,
    attribute,
    item,
    slice,
    call,
    filter,
    test
  };
  Kind kind = Kind::constant;
  int line = 1;
  std::string text;
  Value value;
  std::vector<ExprPtr> children;
  std::vector<std::pair<std::string, ExprPtr>> named;
  std::vector<std::string> ops;
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Parameter {
  std::string name;
  ExprPtr otherwise;  // null = required
};

// Which members are used, by kind:
//   text       text                           output     exprs[0]
//   branch     exprs[i] guards bodies[i]; one body more = else
//   loop       target, exprs[0] = items, exprs[1] = condition or null; bodies[0], bodies[1] = else
//   set        target, exprs[0]               set_block  target, bodies[0]
//   macro      text, parameters, bodies[0]    call_block exprs[0] = call, parameters of caller, bodies[0]
//   with       targets[i] = exprs[i], bodies[0]          group      bodies[0] ({% generation %})
struct Stmt {
  enum class Kind {
    text,
    output,
    branch,
    loop,
    set,
    set_block,
    macro,
    call_block,
    with,
    group,
    break_loop,
    continue_loop
  };
  Kind kind = Kind::text;
  int line = 1;
  std::string text;
  ExprPtr target;
  std::vector<ExprPtr> targets, exprs;
  std::vector<Parameter> parameters;
  std::vector<Body> bodies;
};

}  // namespace arkit::text::jinja
