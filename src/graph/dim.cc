// graph/dim.cc — canonical symbolic integers: a sum of coefficient * product of atoms, where an atom is a symbol or an opaque function.
#include "graph/dim.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "graph/size_limit.h"

namespace bascule {
namespace {

enum class Function { symbol, floordiv, mod, min, max, broadcast };
constexpr const char* kFunctionNames[] = {"", "floordiv", "mod", "min", "max", "broadcast"};

struct Atom {
  Function function;
  std::string key;  // its text: the canonical identity
  Dim a, b;         // arguments of a function
};
using Product = std::vector<std::shared_ptr<const Atom>>;  // sorted by key
struct Term {
  int64_t coefficient;
  Product atoms;
};
using Terms = std::map<std::string, Term>;  // key: atoms joined by '*'; "" is the constant term

[[noreturn]] void overflow() { fail_capacity("size arithmetic", "sizes that fit 63 bits", "a larger product or sum", "Use smaller sizes"); }

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) overflow();
  return r;
}
int64_t checked_add(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) overflow();
  return r;
}

std::string product_key(const Product& p) {
  std::string key;
  for (const auto& atom : p) key += (key.empty() ? "" : "*") + atom->key;
  return key;
}

int64_t floor_div_value(int64_t a, int64_t b) {
  if (b == 0) fail_usage("size arithmetic", "a divisor other than 0", "0", "Check the sizes of the inputs");
  if (b == -1) return checked_mul(a, -1);
  return a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
}

}  // namespace

struct Dim::Expression {
  Terms terms;
};

struct DimAccess {
  static Terms terms(const Dim& d) {
    if (d.terms_) return d.terms_->terms;
    Terms t;
    if (d.constant_ != 0) t[""] = {d.constant_, {}};
    return t;
  }
  static Dim make(Terms t) {
    std::erase_if(t, [](const auto& e) { return e.second.coefficient == 0; });
    if (t.empty()) return Dim(0);
    if (t.size() == 1 && t.begin()->first.empty()) return Dim(t.begin()->second.coefficient);
    constexpr size_t kMostTerms = 256;  // hostile growth: (a+b)*(c+d)*...
    if (t.size() > kMostTerms) fail_capacity(kSymbolicSizes, "at most 256 terms", "more", "Fix some sizes with --shape");
    Dim d;
    d.terms_ = std::make_shared<const Dim::Expression>(Dim::Expression{std::move(t)});
    return d;
  }
  static Dim atom(Function f, std::string key, Dim a, Dim b) {
    constexpr size_t kLongestKey = 4096;
    if (key.size() > kLongestKey) fail_capacity(kSymbolicSizes, "a size expression of at most 4096 characters", "a longer one", "Fix some sizes with --shape");
    auto p = std::make_shared<const Atom>(Atom{f, key, std::move(a), std::move(b)});
    Terms t;
    t[key] = {1, {p}};
    return make(std::move(t));
  }
  static Dim function(Function f, const Dim& a, const Dim& b) {
    return atom(f, std::string(kFunctionNames[static_cast<int>(f)]) + '(' + a.text() + ',' + b.text() + ')', a, b);
  }
};

namespace {

// a / b if b is one product that divides every term of a exactly.
std::optional<Dim> exact_quotient(const Dim& a, const Dim& b) {
  const Terms divisor = DimAccess::terms(b);
  if (divisor.size() != 1) return std::nullopt;
  const Term& by = divisor.begin()->second;
  Terms out;
  for (const auto& [key, term] : DimAccess::terms(a)) {
    if (term.coefficient % by.coefficient != 0) return std::nullopt;
    Product rest = term.atoms;
    for (const auto& atom : by.atoms) {
      const auto at = std::find_if(rest.begin(), rest.end(), [&](const auto& x) { return x->key == atom->key; });
      if (at == rest.end()) return std::nullopt;
      rest.erase(at);
    }
    out[product_key(rest)] = {term.coefficient / by.coefficient, rest};
  }
  return DimAccess::make(std::move(out));
}

// floor(a / m) for m > 1, in the one form that strided windows of windows share:
// floor((m*x + r) / m) = x + floor(r / m), and floor((floor(x / k) + r) / m) = floor((x + r*k) / (k*m)).
Dim divided(const Dim& a, int64_t m) {
  Terms whole, rest;
  for (const auto& [key, term] : DimAccess::terms(a)) {
    const int64_t quotient = key.empty() ? floor_div_value(term.coefficient, m) : term.coefficient % m == 0 ? term.coefficient / m : 0;
    if (quotient != 0) whole[key] = {quotient, term.atoms};
    if (const int64_t left = term.coefficient - quotient * m; left != 0) rest[key] = {left, term.atoms};
  }
  const Dim outside = DimAccess::make(std::move(whole));
  int64_t r = 0;
  if (const auto constant = rest.find(""); constant != rest.end()) r = constant->second.coefficient;
  const Term* only = nullptr;
  for (const auto& [key, term] : rest)
    if (!key.empty()) only = only || term.atoms.size() != 1 || term.coefficient != 1 ? nullptr : &term;
  const bool single = only && rest.size() == (r != 0 ? 2u : 1u);
  if (single && only->atoms[0]->function == Function::floordiv && only->atoms[0]->b.is_constant() && only->atoms[0]->b.value() > 0) {
    const Dim& k = only->atoms[0]->b;
    return outside + Dim::floor_div(only->atoms[0]->a + k * r, k * m);
  }
  if (rest.empty() || (rest.size() == 1 && r != 0)) return outside;  // 0 <= r < m
  return outside + DimAccess::function(Function::floordiv, DimAccess::make(std::move(rest)), m);
}

template <class Lookup>  // Lookup: symbol name -> optional<Dim>
Dim replaced(const Dim& d, const Lookup& lookup) {
  if (d.is_constant()) return d;
  Dim sum = 0;
  for (const auto& [key, term] : DimAccess::terms(d)) {
    Dim part = term.coefficient;
    for (const auto& atom : term.atoms) {
      Dim value;
      if (atom->function == Function::symbol) {
        const std::optional<Dim> found = lookup(atom->key);
        value = found ? *found : Dim::symbol(atom->key);
      } else {
        const Dim a = replaced(atom->a, lookup), b = replaced(atom->b, lookup);
        switch (atom->function) {
          case Function::floordiv: value = Dim::floor_div(a, b); break;
          case Function::mod: value = Dim::mod(a, b); break;
          case Function::min: value = Dim::min(a, b); break;
          case Function::max: value = Dim::max(a, b); break;
          default: value = Dim::broadcast(a, b); break;
        }
      }
      part = part * value;
    }
    sum = sum + part;
  }
  return sum;
}

}  // namespace

Dim Dim::symbol(std::string_view name) {
  std::string clean;
  for (const char c : name) clean += std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' ? c : '_';
  if (clean.empty() || std::isdigit(static_cast<unsigned char>(clean[0]))) clean.insert(0, 1, '_');
  return DimAccess::atom(Function::symbol, clean, {}, {});
}

int64_t Dim::value() const {
  if (terms_) fail_internal("Dim::value", "a constant size", text());
  return constant_;
}

std::optional<std::string> Dim::as_symbol() const {
  if (!terms_ || terms_->terms.size() != 1) return std::nullopt;
  const Term& t = terms_->terms.begin()->second;
  if (t.coefficient != 1 || t.atoms.size() != 1 || t.atoms[0]->function != Function::symbol) return std::nullopt;
  return t.atoms[0]->key;
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return checked_add(a.constant_, b.constant_);
  Terms t = DimAccess::terms(a);
  for (const auto& [key, term] : DimAccess::terms(b)) {
    auto [at, fresh] = t.try_emplace(key, term);
    if (!fresh) at->second.coefficient = checked_add(at->second.coefficient, term.coefficient);
  }
  return DimAccess::make(std::move(t));
}
Dim operator-(const Dim& a, const Dim& b) { return a + Dim(-1) * b; }
Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return checked_mul(a.constant_, b.constant_);
  Terms out;
  for (const auto& [ka, x] : DimAccess::terms(a))
    for (const auto& [kb, y] : DimAccess::terms(b)) {
      Product atoms = x.atoms;
      atoms.insert(atoms.end(), y.atoms.begin(), y.atoms.end());
      std::sort(atoms.begin(), atoms.end(), [](const auto& p, const auto& q) { return p->key < q->key; });
      const int64_t c = checked_mul(x.coefficient, y.coefficient);
      auto [at, fresh] = out.try_emplace(product_key(atoms), Term{c, atoms});
      if (!fresh) at->second.coefficient = checked_add(at->second.coefficient, c);
    }
  return DimAccess::make(std::move(out));
}
bool operator==(const Dim& a, const Dim& b) {
  if (a.is_constant() || b.is_constant()) return a.is_constant() && b.is_constant() && a.constant_ == b.constant_;
  if (a.terms_ == b.terms_) return true;
  const Terms &x = a.terms_->terms, &y = b.terms_->terms;
  return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), [](const auto& p, const auto& q) { return p.first == q.first && p.second.coefficient == q.second.coefficient; });
}

Dim Dim::floor_div(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return floor_div_value(a.constant_, b.constant_);
  if (b.is(1)) return a;
  if (!b.is(0)) {
    if (auto q = exact_quotient(a, b)) return *q;
  }
  if (b.is_constant() && b.value() > 1) return divided(a, b.value());
  return DimAccess::function(Function::floordiv, a, b);
}
Dim Dim::ceil_div(const Dim& a, const Dim& b) {
  if (b.is_constant() && b.value() < 0) return ceil_div(Dim(0) - a, Dim(0) - b);
  return floor_div(a + b - 1, b);  // b > 0
}
Dim Dim::mod(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return checked_add(a.constant_, -checked_mul(b.constant_, floor_div_value(a.constant_, b.constant_)));
  if (!b.is(0) && exact_quotient(a, b)) return 0;
  if (b.is_constant() && b.value() > 1) return a - b * divided(a, b.value());
  return DimAccess::function(Function::mod, a, b);
}
bool Dim::never_negative() const {
  if (!terms_) return constant_ >= 0;
  const auto atom_holds = [](const Atom& x) {
    switch (x.function) {
      case Function::symbol:
      case Function::broadcast: return true;
      case Function::min: return x.a.never_negative() && x.b.never_negative();
      case Function::max: return x.a.never_negative() || x.b.never_negative();
      default: return x.a.never_negative() && x.b.never_negative();  // floordiv, mod: a divisor of 0 is refused
    }
  };
  return std::all_of(terms_->terms.begin(), terms_->terms.end(), [&](const auto& t) {
    return t.second.coefficient >= 0 && std::all_of(t.second.atoms.begin(), t.second.atoms.end(), [&](const auto& x) { return atom_holds(*x); });
  });
}
Dim Dim::min(const Dim& a, const Dim& b) {
  if ((b - a).never_negative()) return a;
  if ((a - b).never_negative()) return b;
  return a.text() < b.text() ? DimAccess::function(Function::min, a, b) : DimAccess::function(Function::min, b, a);
}
Dim Dim::max(const Dim& a, const Dim& b) {
  if ((a - b).never_negative()) return a;
  if ((b - a).never_negative()) return b;
  return a.text() < b.text() ? DimAccess::function(Function::max, a, b) : DimAccess::function(Function::max, b, a);
}
Dim Dim::broadcast(const Dim& a, const Dim& b) {
  if (a == b || b.is(1)) return a;
  if (a.is(1)) return b;
  if (a.is_constant() && b.is_constant()) fail_usage("broadcast", "equal sizes, or 1", a.text() + " and " + b.text(), "Check the shapes of the inputs");
  if (a.is_constant()) return a;  // a is not 1: b must be a or 1, and the result is a either way; the bind checks it
  if (b.is_constant()) return b;
  return a.text() < b.text() ? DimAccess::function(Function::broadcast, a, b) : DimAccess::function(Function::broadcast, b, a);
}

Dim Dim::substitute(const Bindings& b) const {
  return replaced(*this, [&](const std::string& name) -> std::optional<Dim> {
    const auto at = b.find(name);
    return at == b.end() ? std::nullopt : std::optional<Dim>(at->second);
  });
}
Dim Dim::substitute(const std::map<std::string, Dim, std::less<>>& b) const {
  return replaced(*this, [&](const std::string& name) -> std::optional<Dim> {
    const auto at = b.find(name);
    return at == b.end() ? std::nullopt : std::optional(at->second);
  });
}
std::optional<int64_t> Dim::evaluate(const Bindings& b) const { return substitute(b).constant(); }

void Dim::add_symbols(std::set<std::string>& into) const {
  if (!terms_) return;
  for (const auto& [key, term] : terms_->terms)
    for (const auto& atom : term.atoms) {
      if (atom->function == Function::symbol) into.insert(atom->key);
      atom->a.add_symbols(into);
      atom->b.add_symbols(into);
    }
}

std::string Dim::text() const {
  if (!terms_) return std::to_string(constant_);
  std::string out;
  const auto add = [&](const std::string& key, int64_t c) {
    if (!out.empty() && c >= 0) out += '+';
    if (key.empty()) out += std::to_string(c);
    else if (c == 1) out += key;
    else if (c == -1) out += '-' + key;
    else out += std::to_string(c) + '*' + key;
  };
  for (const auto& [key, term] : terms_->terms)
    if (!key.empty()) add(key, term.coefficient);
  const auto constant = terms_->terms.find("");
  if (constant != terms_->terms.end()) add("", constant->second.coefficient);
  return out;
}

namespace {

// sum := ['-'] product (('+'|'-') product)* ; product := factor ('*' factor)* ; factor := integer | symbol | name '(' sum ',' sum ')' | '(' sum ')'
class DimParser {
 public:
  explicit DimParser(std::string_view t) : rest_(t) {}
  std::optional<Dim> whole() {
    auto d = sum(0);
    return d && rest_.empty() ? d : std::nullopt;
  }

 private:
  std::string_view rest_;
  bool take(char c) {
    while (!rest_.empty() && rest_[0] == ' ') rest_.remove_prefix(1);
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::optional<Dim> sum(int depth) {
    if (depth > 64) return std::nullopt;
    bool negative = take('-');
    std::optional<Dim> total;
    do {
      auto p = product(depth);
      if (!p) return std::nullopt;
      const Dim signed_part = negative ? Dim(-1) * *p : *p;
      total = total ? *total + signed_part : signed_part;
      if (take('+')) negative = take('-');
      else if (take('-')) negative = true;
      else return total;
    } while (true);
  }
  std::optional<Dim> product(int depth) {
    auto p = factor(depth);
    while (p && take('*')) {
      auto q = factor(depth);
      if (!q) return std::nullopt;
      p = *p * *q;
    }
    return p;
  }
  std::optional<Dim> factor(int depth) {
    if (take('(')) {
      auto d = sum(depth + 1);
      return d && take(')') ? d : std::nullopt;
    }
    size_t n = 0;
    while (n < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[n])) || rest_[n] == '_' || rest_[n] == '.')) ++n;
    if (n == 0) return std::nullopt;
    const std::string word(rest_.substr(0, n));
    rest_.remove_prefix(n);
    if (std::isdigit(static_cast<unsigned char>(word[0]))) {
      if (n > 18 || !std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c); })) return std::nullopt;
      return Dim(std::stoll(word));
    }
    if (!take('(')) return Dim::symbol(word);
    auto a = sum(depth + 1);
    if (!a || !take(',')) return std::nullopt;
    auto b = sum(depth + 1);
    if (!b || !take(')')) return std::nullopt;
    if (word == "floordiv") return Dim::floor_div(*a, *b);
    if (word == "ceildiv") return Dim::ceil_div(*a, *b);
    if (word == "mod") return Dim::mod(*a, *b);
    if (word == "min") return Dim::min(*a, *b);
    if (word == "max") return Dim::max(*a, *b);
    if (word == "broadcast") return Dim::broadcast(*a, *b);
    return std::nullopt;
  }
};

}  // namespace

std::optional<Dim> Dim::parse(std::string_view t) { return DimParser(t).whole(); }

Dims to_dims(const std::vector<int64_t>& v) { return Dims(v.begin(), v.end()); }

std::optional<std::vector<int64_t>> constants(const Dims& d) {
  std::vector<int64_t> out;
  for (const Dim& x : d) {
    if (!x.is_constant()) return std::nullopt;
    out.push_back(x.value());
  }
  return out;
}

Dim product(const Dims& d) {
  for (const Dim& x : d)
    if (x.is(0)) return 0;  // before an overflow of the others
  Dim p = 1;
  for (const Dim& x : d) p = p * x;
  return p;
}

std::string text(const Dims& d) {
  std::string out = "[";
  for (size_t i = 0; i < d.size(); ++i) out += (i ? "," : "") + d[i].text();
  return out + "]";
}

}  // namespace bascule
