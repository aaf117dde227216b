//! Reads the files of `testdata/maps`.

use super::expand::Repeat;
use super::step::Step;

/// A file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The cases, in the file's order.
    pub cases: Vec<Case>,
}

/// A sequence of operations on fresh maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows, in a sentence that no other case of the file has.
    pub title: String,
    /// The number of the line with the title, from 1.
    pub line: usize,
    /// What is done, line by line.
    pub lines: Vec<Line>,
}

/// A question, and the answer if it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line's number in the file, from 1.
    pub number: usize,
    /// What stands before the arrow.
    pub question: String,
    /// What stands behind it.
    pub answer: Option<String>,
}

/// A line that is neither a case's title nor a step nor a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl Script {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut cases: Vec<Case> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let error = |what: String| SyntaxError { line, what };
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(title) = text.strip_prefix("case ") {
                let title = title.trim().to_owned();
                if cases.iter().any(|case| case.title == title) {
                    return Err(error(format!("two cases say `{title}`")));
                }
                cases.push(Case { title, line, lines: Vec::new() });
                continue;
            }
            let case = cases.last_mut().ok_or_else(|| error("no `case` stands before".into()))?;
            let step = Line::parse(line, text);
            step.steps().map_err(error)?;
            case.lines.push(step);
        }
        match cases.iter().find(|case| case.lines.is_empty()) {
            None => Ok(Self { cases }),
            Some(case) => Err(SyntaxError { line: case.line, what: "the case is empty".into() }),
        }
    }
}

impl Line {
    /// Splits a line at its arrow.
    #[must_use]
    pub fn parse(number: usize, text: &str) -> Self {
        match text.split_once("->") {
            None => Self { number, question: text.trim().to_owned(), answer: None },
            Some((question, answer)) => Self {
                number,
                question: question.trim().to_owned(),
                answer: Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()),
            },
        }
    }

    /// The steps that the line stands for, each with the answer that is written for it.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn steps(&self) -> Result<Vec<(Step, Option<String>)>, String> {
        let Some((Repeat { variable, range }, body)) = Repeat::split(&self.question)? else {
            return Ok(vec![(Step::parse(&self.question)?, self.answer.clone())]);
        };
        let put = |text: &str, value| super::expand::expand(text, &variable, value);
        range
            .map(|value| {
                let answer = self.answer.as_deref().map(|text| put(text, value)).transpose()?;
                Ok((Step::parse(&put(body, value)?)?, answer))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_a_title_and_lines() {
        let text =
            "# remark\n\ncase one\nmap m hash key_size=4\nS keys m -> -\n\ncase two\nS keys m";
        let script = Script::parse(text).unwrap();
        assert_eq!(script.cases[0].title, "one");
        assert_eq!(script.cases[0].lines[0].answer, None);
        assert_eq!(script.cases[0].lines[1].number, 5);
        assert_eq!(script.cases[0].lines[1].answer.as_deref(), Some("-"));
        assert_eq!(script.cases[1].lines.len(), 1);
    }

    #[test]
    fn a_line_can_stand_for_many() {
        let line = Line::parse(1, "repeat I 0..3 : S lookup m key={I:u32} -> value={I:u8}");
        let answers: Vec<_> = line.steps().unwrap().into_iter().map(|(_, a)| a.unwrap()).collect();
        assert_eq!(answers, ["value=00", "value=01", "value=02"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line) in [
            ("S keys m", 1),
            ("case a\nS keys m\ncase a\nS keys m", 3),
            ("case a\n", 1),
            ("case a\nS kyes m", 2),
            ("case a\nS keys m kye=1", 2),
            ("case a\nmap m hsah", 2),
            ("case a\nP lookup m key=0", 2),
            ("case a\nmap m hash key_size=-1", 2),
        ] {
            assert_eq!(Script::parse(text).map_err(|e| e.line), Err(line), "{text}");
        }
    }
}
