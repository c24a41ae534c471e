//! As much of Rust's grammar as tells code from comments and texts.

/// A piece of a source file, with the number of the line where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Code(usize, String),
    /// What stands between the quotation marks.
    Text(usize, String),
    Comment(usize, String),
}

/// The pieces of a file's text, in order.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let (mut pieces, mut code, mut begin) = (Vec::new(), String::new(), 1);
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let before = code.chars().next_back().unwrap_or(' ');
        let (length, piece) = match whole(rest, before) {
            Some((length, piece)) => (length, Some(piece(line))),
            None => (first.len_utf8(), None),
        };
        if let Some(piece) = piece {
            pieces.push(Piece::Code(begin, std::mem::take(&mut code)));
            pieces.push(piece);
            begin = line + rest[..length].matches('\n').count();
        } else {
            code.push(first);
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    pieces.push(Piece::Code(begin, code));
    pieces.retain(|piece| !matches!(piece, Piece::Code(_, code) if code.trim().is_empty()));
    pieces
}

type Made = Box<dyn Fn(usize) -> Piece>;

/// The comment or text that begins here: how long it is, and the piece. `before` is the character before it.
fn whole(rest: &str, before: char) -> Option<(usize, Made)> {
    let comment = |length: usize| -> Option<(usize, Made)> {
        let text = rest[..length].to_owned();
        Some((length, Box::new(move |line| Piece::Comment(line, text.clone()))))
    };
    let text = |length: usize, inner: &str| -> Option<(usize, Made)> {
        let inner = inner.to_owned();
        Some((length, Box::new(move |line| Piece::Text(line, inner.clone()))))
    };
    if rest.starts_with("//") {
        return comment(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return comment(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('\'') {
        // A character, not a lifetime: a quotation mark in one begins no text.
        let escaped = rest.strip_prefix("'\\");
        let end = escaped.and_then(|escaped| escaped.find('\'')).map(|end| end + 3);
        let plain = rest.chars().nth(1).map(|inner| 1 + inner.len_utf8());
        let end = end.or_else(|| plain.filter(|&end| rest[end..].starts_with('\'')).map(|end| end + 1))?;
        return text(end, &rest[1..end - 1]);
    }
    if rest.starts_with('r') && !before.is_alphanumeric() && before != '_' || rest.starts_with("br") {
        let marks = rest.trim_start_matches('b').trim_start_matches('r');
        let hashes = marks.len() - marks.trim_start_matches('#').len();
        if marks[hashes..].starts_with('"') {
            let begin = rest.len() - marks.len() + hashes + 1;
            let end = rest[begin..].find(&format!("\"{}", "#".repeat(hashes)))? + begin;
            return text(end + 1 + hashes, &rest[begin..end]);
        }
        return None;
    }
    if let Some(begun) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = begun.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        })? + 1;
        return text(end + 1, &rest[1..end]);
    }
    None
}

/// A file's text up to the tests that stand at its end.
pub(super) fn without_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find("#[cfg(test)]").map(|at| from + at) {
        let item = text[at..].lines().nth(1).unwrap_or_default();
        if item.starts_with("mod ") && item.ends_with('{') {
            return &text[..at];
        }
        from = at + 1;
    }
    text
}

#[test]
fn comments_texts_and_code_are_told_apart() {
    let file = "let a = \"x // \\\" y\"; // \"no\"\nlet b = r#\"z\"w\"#; /* \"n\" */ let c: &'a str = 'q'; f('\"', \"end\")";
    let texts: Vec<String> = pieces(file)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Text(line, text) => Some(format!("{line} {text}")),
            Piece::Code(..) | Piece::Comment(..) => None,
        })
        .collect();
    assert_eq!(texts, ["1 x // \\\" y", "2 z\"w", "2 q", "2 \"", "2 end"]);
    assert_eq!(
        without_tests("a\n#[cfg(test)]\nmod t;\nb\n#[cfg(test)]\nmod tests {\n\"als\"}"),
        "a\n#[cfg(test)]\nmod t;\nb\n"
    );
}
