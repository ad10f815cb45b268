//! Finds the paths in a Rust source that name items of its own crate, with a tokenizer and without a complete parser.

use std::collections::BTreeSet;

/// An absolute path that a source uses: `super::b::C` in `a/d.rs` is `["a", "b", "C"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub line: usize,
    pub path: Vec<String>,
    /// The name under which a `pub use` exports it.
    pub exported_as: Option<String>,
}

/// The facts about a source file that the checks use.
#[derive(Debug, Default)]
pub struct Source {
    pub lines: usize,
    pub used: Vec<Used>,
    /// The modules that it declares only for tests (`#[cfg(test)] mod tests;`).
    pub test_modules: Vec<String>,
    /// The identifiers outside `use` declarations.
    pub identifiers: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Token {
    line: usize,
    text: String,
}

impl Source {
    /// Reads the text of the module `module`, ignoring comments, literals and all items under `#[cfg(test)]`.
    pub fn read(module: &[String], text: &str) -> Self {
        let mut test_modules = Vec::new();
        let tokens = without_tests(&tokens(text), &mut test_modules);
        let mut source = Self { lines: text.lines().count(), test_modules, ..Self::default() };
        source.read_paths(module, &tokens);
        source
    }

    fn read_paths(&mut self, module: &[String], tokens: &[Token]) {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let children: BTreeSet<&str> =
            (0..tokens.len()).filter(|&at| text(at) == "mod" && text(at + 2) == ";").map(|at| text(at + 1)).collect();
        // The inline modules that contain the current token, with the depth of their braces.
        let mut inline: Vec<(usize, String)> = Vec::new();
        let (mut depth, mut at) = (0_usize, 0);
        while at < tokens.len() {
            let before = if at > 0 { text(at - 1) } else { "" };
            let here = || [module, &inline.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()].concat();
            match text(at) {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    inline.retain(|&(of, _)| of < depth + 1);
                }
                "mod" if text(at + 2) == "{" => inline.push((depth + 1, text(at + 1).to_owned())),
                "use" if text(at + 1) != "<" => {
                    let exported = matches!(before, "pub" | ")");
                    let (leaves, end) = leaves(tokens, at + 1, &[]);
                    for (line, path, name) in leaves {
                        if let Some(path) = absolute(&here(), &children, &path) {
                            self.used.push(Used { line, path, exported_as: exported.then_some(name) });
                        }
                    }
                    at = end;
                    continue;
                }
                word if is_identifier(word) => {
                    self.identifiers.insert(word.to_owned());
                    // The path in `pub(in crate::a)` is not a use.
                    let visibility = before == "in" && at >= 3 && text(at - 2) == "(" && text(at - 3) == "pub";
                    if text(at + 1) == "::" && !matches!(before, "::" | ".") {
                        let mut path = vec![word.to_owned()];
                        let mut end = at + 1;
                        while text(end) == "::" && is_identifier(text(end + 1)) {
                            path.push(text(end + 1).to_owned());
                            self.identifiers.insert(text(end + 1).to_owned());
                            end += 2;
                        }
                        if let Some(path) = absolute(&here(), &children, &path)
                            && !visibility
                        {
                            self.used.push(Used { line: tokens[at].line, path, exported_as: None });
                        }
                        at = end;
                        continue;
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the path from the root of the crate; `None` for a path of another crate, or one that begins with an imported
/// name, whose `use` is counted.
fn absolute(module: &[String], children: &BTreeSet<&str>, path: &[String]) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" | "voltar" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {}
        child if children.contains(child) => {}
        _ => return None,
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend(rest.iter().filter(|segment| *segment != "self" && *segment != "*").cloned());
    Some(base)
}

/// Returns the paths of the `use` tree at `at`, each with its line and the name that it brings into scope, and the
/// index of the token after the tree.
fn leaves(tokens: &[Token], mut at: usize, prefix: &[String]) -> (Vec<(usize, Vec<String>, String)>, usize) {
    let (mut found, mut path) = (Vec::new(), prefix.to_vec());
    let mut open = false;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                open = false;
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let (inner, end) = leaves(tokens, at, &path);
                    found.extend(inner);
                    at = end + usize::from(tokens.get(end).is_some_and(|token| token.text == ","));
                }
            }
            "," | "}" | ";" => break,
            "as" => {
                let name = tokens.get(at + 1).map_or_else(String::new, |token| token.text.clone());
                found.push((token.line, path.clone(), name));
                open = false;
                at += 1;
            }
            "::" => {}
            segment => {
                path.push(segment.to_owned());
                open = true;
            }
        }
        at += 1;
    }
    if open {
        let name = path.iter().rev().find(|segment| *segment != "self").cloned().unwrap_or_default();
        found.push((tokens[at - 1].line, path, name));
    }
    (found, at)
}

/// Removes the items under `#[cfg(test)]` or `#[cfg(all(test, …))]`, and adds the modules among them that have a file
/// to `test_modules`.
fn without_tests(tokens: &[Token], test_modules: &mut Vec<String>) -> Vec<Token> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inner = usize::from(text(at + 1) == "!");
        if text(at) != "#" || text(at + 1 + inner) != "[" {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = closing(tokens, at + 1 + inner) + 1;
        let condition: Vec<&str> = (at + 2 + inner..end - 1).map(text).collect();
        let only_test = condition == ["cfg", "(", "test", ")"];
        let all_with_test = condition.starts_with(&["cfg", "(", "all", "("])
            && condition.contains(&"test")
            && !condition.iter().any(|word| matches!(*word, "not" | "any"));
        if !only_test && !all_with_test {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
        } else if inner == 1 {
            return Vec::new();
        } else {
            let mut item = end;
            while text(item) == "#" {
                item = closing(tokens, item + 1) + 1;
            }
            let item = after_visibility(tokens, item);
            if text(item) == "mod" && text(item + 2) == ";" {
                test_modules.push(text(item + 1).to_owned());
            }
            at = after_item(tokens, item);
        }
    }
    kept
}

fn after_visibility(tokens: &[Token], at: usize) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    match (text(at), text(at + 1)) {
        ("pub", "(") => closing(tokens, at + 1) + 1,
        ("pub", _) => at + 1,
        _ => at,
    }
}

/// Returns the index of the token after the item, statement, field or match arm at `at`.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let by_semicolon = match text(at) {
        "use" | "static" | "let" | "type" => true,
        "const" => !matches!(text(at + 1), "fn" | "unsafe" | "extern"),
        _ => false,
    };
    let field = text(at + 1) == ":";
    while at < tokens.len() {
        match text(at) {
            ";" => return at + 1,
            "," if field => return at + 1,
            "}" | ")" | "]" => return at,
            "{" if !by_semicolon && !field => return closing(tokens, at) + 1,
            "{" | "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
    at
}

/// Returns the index of the token that closes the bracket at `at`; the last token if none does.
fn closing(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens[at.min(tokens.len())..].iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + offset;
        }
    }
    tokens.len().saturating_sub(1)
}

/// Splits a text into identifiers, `::`, and all other single characters, without comments, literals and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        match (get(at), get(at + 1)) {
            ('/', '/') => {
                while at < chars.len() && get(at) != '\n' {
                    at += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0_usize;
                while at < chars.len() {
                    match (get(at), get(at + 1)) {
                        ('/', '*') => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            ('"', _) => at = after_string(&chars, at),
            ('\'', '\\') => {
                at += 3;
                while at < chars.len() && get(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            ('\'', _) if get(at + 2) == '\'' => at += 3,
            ('\'', _) => {
                at += 1;
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
            }
            (':', ':') => {
                tokens.push(Token { line, text: "::".to_owned() });
                at += 2;
            }
            (first, _) if first.is_alphanumeric() || first == '_' => {
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
                if matches!(word.as_str(), "r" | "br" | "cr") && get(at + hashes) == '"' {
                    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    at += hashes + 1;
                    while at < chars.len() && !chars[at..].starts_with(&closing) {
                        at += 1;
                    }
                    at += closing.len();
                } else if word == "b" && get(at) == '\'' || matches!(word.as_str(), "b" | "c") && get(at) == '"' {
                    // The prefix of the literal that follows.
                } else {
                    tokens.push(Token { line, text: word });
                }
            }
            (other, _) => {
                if !other.is_whitespace() {
                    tokens.push(Token { line, text: other.to_string() });
                }
                at += 1;
            }
        }
        at = at.min(chars.len());
        line += chars[start..at].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

fn after_string(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += 1 + usize::from(chars[at] == '\\');
    }
    at + 1
}
