//! Reads what was recorded: the lines of `testdata/semantics`.
//!
//! A line is a question, `->` and an answer, each of words apart by spaces. A word
//! is bare, `NAME=VALUE` or quoted; a quoted value may hold spaces. Lines that begin
//! with `#` and empty lines are remarks.

/// One line: what was asked and what the kernel answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case<'t> {
    /// The line's number in the file, from 1.
    pub line: usize,
    /// The words before the arrow.
    pub question: Vec<&'t str>,
    /// The words after it.
    pub answer: Vec<&'t str>,
}

impl<'t> Case<'t> {
    /// Every line of a file that is not a remark.
    ///
    /// # Errors
    /// The number of the first line that is neither a case nor a remark.
    pub fn parse_all(text: &'t str) -> Result<Vec<Self>, usize> {
        let mut cases = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words = words(line).ok_or(number)?;
            let arrow = words.iter().position(|&word| word == "->").ok_or(number)?;
            let (question, answer) = (&words[..arrow], &words[arrow + 1..]);
            if question.is_empty() || answer.is_empty() {
                return Err(number);
            }
            cases.push(Self { line: number, question: question.to_vec(), answer: answer.to_vec() });
        }
        Ok(cases)
    }

    /// The value of `NAME=VALUE` in the question, still quoted if it is.
    #[must_use]
    pub fn asked(&self, name: &str) -> Option<&'t str> {
        value(&self.question, name)
    }

    /// The value of `NAME=VALUE` in the answer, still quoted if it is.
    #[must_use]
    pub fn answered(&self, name: &str) -> Option<&'t str> {
        value(&self.answer, name)
    }
}

fn value<'t>(words: &[&'t str], name: &str) -> Option<&'t str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Splits at spaces outside quotes; `None` when a quote is not closed.
#[must_use]
pub fn words(line: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                words.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(&line[start..]);
    words.retain(|word| !word.is_empty());
    (!quoted).then_some(words)
}

/// The bytes of a quoted value: text, with the escapes of Rust's string and byte
/// string literals. `None` when it is not quoted or an escape is unknown.
#[must_use]
pub fn unquote(value: &str) -> Option<Vec<u8>> {
    let mut rest = value.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut bytes = Vec::new();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        match rest.next()? {
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            '0' => bytes.push(0),
            c @ ('\\' | '"' | '\'') => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).ok()?);
            }
            'u' => {
                let digits: String =
                    rest.by_ref().take_while(|&c| c != '}').filter(|&c| c != '{').collect();
                let c = char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
            _ => return None,
        }
    }
    Some(bytes)
}

/// The first `size` bytes of value number `n`, where a recording names values by number:
/// an 8-byte word that differs from number to number, again and again, each time rotated
/// left by 7 bits more.
#[must_use]
pub fn numbered(n: u64, size: usize) -> Vec<u8> {
    let word = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = (0..).flat_map(|turn: u32| word.rotate_left(7 * (turn % 64)).to_le_bytes());
    words.take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_question_and_an_answer() {
        let cases = Case::parse_all("# remark\n\nadd a=1 b=\"x -> y\" -> 2 c=3\n").unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].line, 3);
        assert_eq!(cases[0].question[0], "add");
        assert_eq!(cases[0].asked("b"), Some("\"x -> y\""));
        assert_eq!(cases[0].answered("c"), Some("3"));
        assert_eq!(cases[0].answered("a"), None);
    }

    #[test]
    fn a_line_without_an_arrow_or_a_closing_quote_is_named() {
        assert_eq!(Case::parse_all("a -> b\nno arrow"), Err(2));
        assert_eq!(Case::parse_all("a=\"open -> b"), Err(1));
    }

    #[test]
    fn what_was_quoted_comes_back() {
        for text in ["", "plain", "a\tb\n\"\\\0\u{1}\u{7f}é"] {
            assert_eq!(unquote(&format!("{text:?}")).as_deref(), Some(text.as_bytes()));
        }
        let bytes = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'a'];
        let quoted = format!("\"{}\"", bytes.escape_ascii());
        assert_eq!(unquote(&quoted).as_deref(), Some(&bytes[..]));
    }
}
