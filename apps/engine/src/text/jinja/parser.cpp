// A recursive-descent parser with Jinja's precedence: if-else, or, and, not, comparisons, + -, ~, * / // %, unary, **,
// then postfix and filters.

#include "text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>

#include <arkit/str.h>

#include "text/jinja/lexer.h"

namespace arkit::text::jinja {
namespace {

constexpr int kMaxDepth = 150;  // of nested expressions and blocks

ExprPtr make(Expr::Kind kind, int line, std::string text = {}) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  expr->text = std::move(text);
  return expr;
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body parse_template() {
    Body body = parse_body({});
    if (!at(TokenKind::end)) error(str("unexpected tag '", peek(1).text, "'"));
    return body;
  }

 private:
  class Nesting {
   public:
    explicit Nesting(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.error("it is nested too deeply");
    }
    ~Nesting() { --parser_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Parser& parser_;
  };

  [[nodiscard]] const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
  }
  [[nodiscard]] bool at(TokenKind kind) const { return peek().kind == kind; }
  [[nodiscard]] bool at_op(std::string_view op) const { return at(TokenKind::op) && peek().text == op; }
  [[nodiscard]] bool at_name(std::string_view name) const { return at(TokenKind::name) && peek().text == name; }
  [[noreturn]] void error(const std::string& message) const { syntax_error(peek().line, message); }
  Token take() {
    Token token = peek();
    if (next_ + 1 < tokens_.size()) ++next_;
    return token;
  }
  bool accept_op(std::string_view op) { return at_op(op) && (take(), true); }
  bool accept_name(std::string_view name) { return at_name(name) && (take(), true); }
  [[nodiscard]] std::string found() const {
    switch (peek().kind) {
      case TokenKind::end:
        return "the end of the template";
      case TokenKind::block_end:
      case TokenKind::output_end:
        return "the end of the tag";
      default:
        return str("'", printable(peek().text, 40), "'");
    }
  }
  void expect_op(std::string_view op) {
    if (!accept_op(op)) error(str("expected '", op, "', found ", found()));
  }
  std::string expect_name() {
    if (!at(TokenKind::name)) error(str("expected a name, found ", found()));
    return take().text;
  }
  void end_tag() {
    if (!at(TokenKind::block_end)) error(str("expected the end of the tag, found ", found()));
    take();
  }

  // Statements up to a tag whose name is in `stops` (not consumed), or the end.
  Body parse_body(std::initializer_list<std::string_view> stops) {
    const Nesting nesting(*this);
    Body body;
    while (!at(TokenKind::end)) {
      if (at(TokenKind::block_begin) && std::find(stops.begin(), stops.end(), peek(1).text) != stops.end()) break;
      if (at(TokenKind::block_begin) && peek(1).text.starts_with("end")) break;
      body.push_back(parse_statement());
    }
    return body;
  }
  Body parse_block(std::string_view end) {
    end_tag();
    Body body = parse_body({});
    close(end);
    return body;
  }
  void close(std::string_view end) {
    if (!at(TokenKind::block_begin) || peek(1).text != end)
      error(str("expected the tag '", end, "', found ", found_tag()));
    take();
    take();
    end_tag();
  }
  [[nodiscard]] std::string found_tag() const {
    return at(TokenKind::block_begin) ? str("'", printable(peek(1).text, 40), "'") : found();
  }

  std::unique_ptr<Stmt> parse_statement() {
    auto stmt = std::make_unique<Stmt>();
    stmt->line = peek().line;
    if (at(TokenKind::text)) {
      stmt->text = take().text;
      return stmt;
    }
    if (at(TokenKind::output_begin)) {
      take();
      stmt->kind = Stmt::Kind::output;
      stmt->exprs.push_back(parse_tuple());
      if (!at(TokenKind::output_end)) error(str("expected the end of the output, found ", found()));
      take();
      return stmt;
    }
    take();  // block_begin
    const std::string tag = expect_name();
    if (tag == "if")
      parse_if(*stmt);
    else if (tag == "for")
      parse_for(*stmt);
    else if (tag == "set")
      parse_set(*stmt);
    else if (tag == "macro")
      parse_macro(*stmt);
    else if (tag == "call")
      parse_call_block(*stmt);
    else if (tag == "with")
      parse_with(*stmt);
    else if (tag == "generation")
      stmt->kind = Stmt::Kind::group, stmt->bodies.push_back(parse_block("endgeneration"));
    else if (tag == "break" || tag == "continue")
      parse_jump(*stmt, tag);
    else
      error(str("the tag '", printable(tag, 40), "' is not supported"));
    return stmt;
  }

  void parse_jump(Stmt& stmt, std::string_view tag) {
    if (loops_ == 0) error(str("'", tag, "' stands outside a loop"));
    stmt.kind = tag == "break" ? Stmt::Kind::break_loop : Stmt::Kind::continue_loop;
    end_tag();
  }

  void parse_if(Stmt& stmt) {
    stmt.kind = Stmt::Kind::branch;
    stmt.exprs.push_back(parse_tuple());
    while (true) {
      end_tag();
      stmt.bodies.push_back(parse_body({"elif", "else"}));
      if (!at(TokenKind::block_begin) || peek(1).text == "endif" || stmt.bodies.size() > stmt.exprs.size()) break;
      if (peek(1).text != "elif" && peek(1).text != "else") break;
      take();
      if (take().text == "elif") stmt.exprs.push_back(parse_tuple());
    }
    close("endif");
  }

  void parse_for(Stmt& stmt) {
    stmt.kind = Stmt::Kind::loop;
    stmt.target = parse_target();
    if (!accept_name("in")) error(str("expected 'in', found ", found()));
    stmt.exprs.push_back(parse_tuple(false));
    stmt.exprs.push_back(accept_name("if") ? parse_expression() : nullptr);
    if (at_name("recursive")) error("recursive loops are not supported");
    end_tag();
    ++loops_;
    stmt.bodies.push_back(parse_body({"else"}));
    --loops_;
    if (at(TokenKind::block_begin) && peek(1).text == "else") {
      take();
      take();
      end_tag();
      stmt.bodies.push_back(parse_body({}));
    }
    close("endfor");
  }

  void parse_set(Stmt& stmt) {
    stmt.target = parse_target();
    if (accept_op("=")) {
      stmt.kind = Stmt::Kind::set;
      stmt.exprs.push_back(parse_tuple());
      end_tag();
      return;
    }
    if (at_op("|")) error("a filter on a set block is not supported");
    stmt.kind = Stmt::Kind::set_block;
    stmt.bodies.push_back(parse_block("endset"));
  }

  std::vector<Parameter> parse_parameters() {
    std::vector<Parameter> parameters;
    expect_op("(");
    while (!at_op(")")) {
      if (!parameters.empty()) expect_op(",");
      Parameter parameter{expect_name(), nullptr};
      if (accept_op("="))
        parameter.otherwise = parse_expression();
      else if (!parameters.empty() && parameters.back().otherwise != nullptr)
        error(str("parameter '", parameter.name, "' without a default follows one with a default"));
      parameters.push_back(std::move(parameter));
    }
    take();
    return parameters;
  }

  // A jump inside a macro cannot leave a loop around it.
  Body parse_function_body(std::string_view end) {
    const int outer = std::exchange(loops_, 0);
    Body body = parse_block(end);
    loops_ = outer;
    return body;
  }

  void parse_macro(Stmt& stmt) {
    stmt.kind = Stmt::Kind::macro;
    stmt.text = expect_name();
    stmt.parameters = parse_parameters();
    stmt.bodies.push_back(parse_function_body("endmacro"));
  }

  void parse_call_block(Stmt& stmt) {
    stmt.kind = Stmt::Kind::call_block;
    if (at_op("(")) stmt.parameters = parse_parameters();
    stmt.exprs.push_back(parse_expression());
    if (stmt.exprs.back()->kind != Expr::Kind::call) error("a call block needs a call");
    stmt.bodies.push_back(parse_function_body("endcall"));
  }

  void parse_with(Stmt& stmt) {
    stmt.kind = Stmt::Kind::with;
    while (!at(TokenKind::block_end)) {
      if (!stmt.targets.empty()) expect_op(",");
      stmt.targets.push_back(parse_target());
      expect_op("=");
      stmt.exprs.push_back(parse_expression());
    }
    stmt.bodies.push_back(parse_block("endwith"));
  }

  // name, name.attribute (of a namespace), or several names.
  ExprPtr parse_target() {
    const int line = peek().line;
    const bool bracket = accept_op("(");
    auto tuple = make(Expr::Kind::tuple, line);
    bool comma = false;
    do {
      if (comma && !at(TokenKind::name)) break;
      auto name = make(Expr::Kind::name, line, expect_name());
      if (!comma && !bracket && accept_op(".")) {
        auto attribute = make(Expr::Kind::attribute, line, expect_name());
        attribute->children.push_back(std::move(name));
        return attribute;
      }
      tuple->children.push_back(std::move(name));
    } while ((comma = accept_op(",")));
    if (bracket) expect_op(")");
    if (tuple->children.size() == 1 && !bracket) return std::move(tuple->children.front());
    return tuple;
  }

  // One expression, or several with commas between them: a tuple.
  ExprPtr parse_tuple(bool with_condition = true) {
    const auto part = [&] { return with_condition ? parse_expression() : parse_or(); };
    const int line = peek().line;
    ExprPtr first = part();
    if (!at_op(",")) return first;
    auto tuple = make(Expr::Kind::tuple, line);
    tuple->children.push_back(std::move(first));
    while (accept_op(",")) {
      if (at(TokenKind::block_end) || at(TokenKind::output_end) || at_op(")") || at_op("]")) break;
      tuple->children.push_back(part());
    }
    return tuple;
  }

  ExprPtr parse_expression() {
    const Nesting nesting(*this);
    ExprPtr value = parse_or();
    while (at_name("if")) {
      auto condition = make(Expr::Kind::condition, take().line);
      condition->children.push_back(std::move(value));
      condition->children.push_back(parse_or());
      condition->children.push_back(accept_name("else") ? parse_expression() : nullptr);
      value = std::move(condition);
    }
    return value;
  }

  ExprPtr pair(Expr::Kind kind, int line, ExprPtr left, ExprPtr right) {
    auto expr = make(kind, line);
    expr->children.push_back(std::move(left));
    expr->children.push_back(std::move(right));
    return expr;
  }

  ExprPtr parse_or() {
    ExprPtr left = parse_and();
    while (at_name("or")) {
      const int line = take().line;
      left = pair(Expr::Kind::logical_or, line, std::move(left), parse_and());
    }
    return left;
  }
  ExprPtr parse_and() {
    ExprPtr left = parse_not();
    while (at_name("and")) {
      const int line = take().line;
      left = pair(Expr::Kind::logical_and, line, std::move(left), parse_not());
    }
    return left;
  }
  ExprPtr parse_not() {
    if (!at_name("not")) return parse_compare();
    const Nesting nesting(*this);
    auto expr = make(Expr::Kind::logical_not, take().line);
    expr->children.push_back(parse_not());
    return expr;
  }

  // The comparison operator here, consumed; empty = none.
  std::string comparison() {
    for (const std::string_view op : {"==", "!=", "<=", ">=", "<", ">"})
      if (accept_op(op)) return std::string(op);
    if (accept_name("in")) return "in";
    if (at_name("not") && peek(1).kind == TokenKind::name && peek(1).text == "in") {
      take();
      take();
      return "not in";
    }
    return {};
  }
  ExprPtr parse_compare() {
    const int line = peek().line;
    ExprPtr left = parse_sum();
    ExprPtr chain;
    for (std::string op = comparison(); !op.empty(); op = comparison()) {
      if (chain == nullptr) {
        chain = make(Expr::Kind::compare, line);
        chain->children.push_back(std::move(left));
      }
      chain->ops.push_back(op);
      chain->children.push_back(parse_sum());
    }
    return chain != nullptr ? std::move(chain) : std::move(left);
  }

  template <typename Next>
  ExprPtr left_associative(std::initializer_list<std::string_view> operators, Next next) {
    ExprPtr left = next();
    while (at(TokenKind::op) && std::find(operators.begin(), operators.end(), peek().text) != operators.end()) {
      const Token op = take();
      left = pair(Expr::Kind::binary, op.line, std::move(left), next());
      left->ops.push_back(op.text);
    }
    return left;
  }
  ExprPtr parse_sum() {
    return left_associative({"+", "-"}, [&] { return parse_concat(); });
  }
  ExprPtr parse_concat() {
    return left_associative({"~"}, [&] { return parse_product(); });
  }
  ExprPtr parse_product() {
    return left_associative({"*", "/", "//", "%"}, [&] { return parse_power(); });
  }
  ExprPtr parse_power() {
    return left_associative({"**"}, [&] { return parse_unary(true); });
  }

  ExprPtr parse_unary(bool with_filter) {
    const Nesting nesting(*this);
    ExprPtr expr;
    if (at_op("-") || at_op("+")) {
      const Token sign = take();
      expr = make(sign.text == "-" ? Expr::Kind::negate : Expr::Kind::positive, sign.line);
      expr->children.push_back(parse_unary(false));
    } else {
      expr = parse_primary();
    }
    expr = parse_postfix(std::move(expr));
    return with_filter ? parse_filters(std::move(expr)) : std::move(expr);
  }

  ExprPtr parse_primary() {
    const Token token = peek();
    const auto constant = [&](Value value) {
      auto expr = make(Expr::Kind::constant, token.line);
      expr->value = std::move(value);
      return expr;
    };
    switch (token.kind) {
      case TokenKind::name:
        take();
        if (token.text == "true" || token.text == "True") return constant(true);
        if (token.text == "false" || token.text == "False") return constant(false);
        if (token.text == "none" || token.text == "None") return constant(None{});
        return make(Expr::Kind::name, token.line, token.text);
      case TokenKind::integer:
        take();
        return constant(token.integer);
      case TokenKind::real:
        take();
        return constant(token.real);
      case TokenKind::string: {
        auto expr = constant({});
        while (at(TokenKind::string)) expr->text += take().text;  // adjacent strings join
        expr->value = Value::text(expr->text);
        return expr;
      }
      default:
        break;
    }
    if (accept_op("(")) return parse_parenthesis(token.line);
    if (accept_op("[")) return parse_list(token.line);
    if (accept_op("{")) return parse_dict(token.line);
    error(str("expected an expression, found ", found()));
  }

  ExprPtr parse_parenthesis(int line) {
    if (accept_op(")")) return make(Expr::Kind::tuple, line);
    ExprPtr expr = parse_tuple();
    expect_op(")");
    return expr;
  }
  ExprPtr parse_list(int line) {
    auto list = make(Expr::Kind::list, line);
    while (!at_op("]")) {
      if (!list->children.empty()) expect_op(",");
      if (at_op("]")) break;
      list->children.push_back(parse_expression());
    }
    take();
    return list;
  }
  ExprPtr parse_dict(int line) {
    auto dict = make(Expr::Kind::dict, line);
    while (!at_op("}")) {
      if (!dict->children.empty()) expect_op(",");
      if (at_op("}")) break;
      dict->children.push_back(parse_expression());
      expect_op(":");
      dict->children.push_back(parse_expression());
    }
    take();
    return dict;
  }

  ExprPtr parse_postfix(ExprPtr expr) {
    while (true) {
      if (at_op(".")) {
        const int line = take().line;
        if (at(TokenKind::integer)) {
          auto index = make(Expr::Kind::constant, line);
          index->value = take().integer;
          expr = pair(Expr::Kind::item, line, std::move(expr), std::move(index));
          continue;
        }
        auto attribute = make(Expr::Kind::attribute, line, expect_name());
        attribute->children.push_back(std::move(expr));
        expr = std::move(attribute);
      } else if (at_op("[")) {
        expr = parse_subscript(std::move(expr));
      } else if (at_op("(")) {
        expr = parse_call(std::move(expr));
      } else {
        return expr;
      }
    }
  }

  ExprPtr parse_subscript(ExprPtr object) {
    const int line = take().line;
    std::array<ExprPtr, 3> parts;
    size_t colons = 0;
    const auto stops = [&] { return at_op(":") || at_op("]"); };
    if (!stops()) parts[0] = parse_tuple();
    while (colons < 2 && accept_op(":")) {
      ++colons;
      if (!stops()) parts[colons] = parse_expression();
    }
    expect_op("]");
    if (colons == 0) {
      if (parts[0] == nullptr) error("an index is missing");
      return pair(Expr::Kind::item, line, std::move(object), std::move(parts[0]));
    }
    auto slice = make(Expr::Kind::slice, line);
    slice->children.push_back(std::move(object));
    for (ExprPtr& part : parts) slice->children.push_back(std::move(part));
    return slice;
  }

  void parse_arguments(Expr& call) {
    expect_op("(");
    bool first = true;
    while (!at_op(")")) {
      if (!std::exchange(first, false)) expect_op(",");
      if (at_op(")")) break;
      if (at_op("*") || at_op("**")) error("unpacked arguments (* and **) are not supported");
      if (at(TokenKind::name) && peek(1).kind == TokenKind::op && peek(1).text == "=") {
        std::string name = take().text;
        take();
        call.named.emplace_back(std::move(name), parse_expression());
        continue;
      }
      if (!call.named.empty()) error("a positional argument follows a named one");
      call.children.push_back(parse_expression());
    }
    take();
  }
  ExprPtr parse_call(ExprPtr callee) {
    auto call = make(Expr::Kind::call, peek().line);
    call->children.push_back(std::move(callee));
    parse_arguments(*call);
    return call;
  }

  ExprPtr parse_filters(ExprPtr expr) {
    while (true) {
      if (accept_op("|")) {
        auto filter = make(Expr::Kind::filter, peek().line, expect_name());
        if (at_op(".")) error(str("the filter '", filter->text, ".' is not supported"));
        filter->children.push_back(std::move(expr));
        if (at_op("(")) parse_arguments(*filter);
        expr = std::move(filter);
      } else if (at_name("is")) {
        expr = parse_test(std::move(expr));
      } else if (at_op("(")) {
        expr = parse_call(std::move(expr));
      } else {
        return expr;
      }
    }
  }

  ExprPtr parse_test(ExprPtr value) {
    const int line = take().line;
    const bool negated = accept_name("not");
    auto test = make(Expr::Kind::test, line, expect_name());
    test->children.push_back(std::move(value));
    const bool word = at_name("else") || at_name("or") || at_name("and") || at_name("if");
    const bool argument = (at(TokenKind::name) && !word) || at(TokenKind::string) || at(TokenKind::integer) ||
                          at(TokenKind::real) || at_op("[") || at_op("{");
    if (at_op("(")) {
      parse_arguments(*test);
    } else if (argument) {
      if (at_name("is")) error("tests cannot be chained with 'is'");
      test->children.push_back(parse_postfix(parse_primary()));
    }
    if (!negated) return test;
    auto inverted = make(Expr::Kind::logical_not, line);
    inverted->children.push_back(std::move(test));
    return inverted;
  }

  std::vector<Token> tokens_;
  size_t next_ = 0;
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source) {
  return Parser(tokenize(source)).parse_template();
}

}  // namespace arkit::text::jinja
