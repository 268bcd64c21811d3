//! YAML text as a small tree in which everything knows its line and column.

use super::diagnostic::{Position, Report, Severity};
use super::limits::{FILE_DEPTH, FILE_NODES};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// A value in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// Characters of its first line, for underlining.
    pub width: usize,
    /// What it is.
    pub value: Yaml,
}

/// What a value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Yaml {
    /// Text; `quoted` text is never a number, a truth value or nothing.
    Scalar {
        /// The text.
        text: String,
        /// Written in quotes or as a block.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping in file order.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it stands.
    pub at: Position,
}

impl Node {
    /// The text of a scalar.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Yaml::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether nothing is written: `key:` or `key: null` or `key: ~`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Yaml::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, in words.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Yaml::Scalar { .. } => "text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

/// Parses one YAML document. Problems go to `report`; `None` when there is no usable tree.
#[must_use]
pub fn parse(source: &str, report: &mut Report) -> Option<Node> {
    let mut builder = Builder { report, anchors: HashMap::new(), count: 0 };
    let mut parser = Parser::new_from_str(source);
    let mut root = None;
    loop {
        let (event, span) = match parser.next_event()? {
            Ok(event) => event,
            Err(error) => {
                let at = Position { line: error.marker().line(), column: error.marker().col() + 1 };
                builder.report.push(Severity::Error, at, 1, format!("not valid YAML: {}", error.info()), None);
                return None;
            }
        };
        match event {
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => return root,
            Event::DocumentStart(_) if root.is_some() => {
                let help = Some("one file holds one agent; put the other into a file of its own".to_owned());
                builder.report.push(Severity::Error, position(span), 3, "a second document in the file", help);
                return None;
            }
            Event::DocumentStart(_) => {}
            event => root = Some(builder.node(&mut parser, event, span, 0)?),
        }
    }
}

struct Builder<'r> {
    report: &'r mut Report,
    anchors: HashMap<usize, (Node, usize)>,
    count: usize,
}

impl Builder<'_> {
    fn refuse<T>(&mut self, at: Position, message: &str) -> Option<T> {
        self.report.push(Severity::Error, at, 1, message, None);
        None
    }

    fn next<'i>(&mut self, parser: &mut Parser<'i, saphyr_parser::StrInput<'i>>) -> Option<(Event<'i>, Span)> {
        match parser.next_event()? {
            Ok(event) => Some(event),
            Err(error) => {
                let at = Position { line: error.marker().line(), column: error.marker().col() + 1 };
                self.refuse(at, &format!("not valid YAML: {}", error.info()))
            }
        }
    }

    fn node<'i>(
        &mut self,
        parser: &mut Parser<'i, saphyr_parser::StrInput<'i>>,
        event: Event<'i>,
        span: Span,
        depth: usize,
    ) -> Option<Node> {
        let at = position(span);
        let before = self.count;
        self.count += 1;
        if depth > FILE_DEPTH {
            return self.refuse(at, &format!("nested deeper than {FILE_DEPTH} levels"));
        }
        if self.count > FILE_NODES {
            return self.refuse(at, &format!("more than {FILE_NODES} values"));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                let same_line = span.end.line() == span.start.line();
                let width = if same_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
                (anchor, Node { at, width: width.max(1), value: Yaml::Scalar { text: text.into_owned(), quoted } })
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next(parser)? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(parser, event, span, depth + 1)?),
                    }
                }
                (anchor, Node { at, width: 1, value: Yaml::List(items) })
            }
            Event::MappingStart(anchor, _) => {
                let entries = self.entries(parser, depth)?;
                (anchor, Node { at, width: 1, value: Yaml::Map(entries) })
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return self.refuse(at, "this alias names no anchor");
                };
                self.count += size;
                if self.count > FILE_NODES {
                    return self.refuse(at, &format!("more than {FILE_NODES} values once aliases are expanded"));
                }
                return Some(node);
            }
            _ => return self.refuse(at, "not valid YAML here"),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.count - before));
        }
        Some(node)
    }

    fn entries<'i>(
        &mut self,
        parser: &mut Parser<'i, saphyr_parser::StrInput<'i>>,
        depth: usize,
    ) -> Option<Vec<(Key, Node)>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next(parser)?;
            if event == Event::MappingEnd {
                return Some(entries);
            }
            let key = self.node(parser, event, span, depth + 1)?;
            let (event, span) = self.next(parser)?;
            let value = self.node(parser, event, span, depth + 1)?;
            let Some(name) = key.scalar().map(str::to_owned) else {
                self.report.push(Severity::Error, key.at, 1, "a key must be text", None);
                continue;
            };
            if let Some((first, _)) = entries.iter().find(|(known, _)| known.name == name) {
                let message = format!("`{name}` is given twice");
                let help = Some(format!("first given in line {}; keep one of them", first.at.line));
                self.report.push(Severity::Error, key.at, name.chars().count(), message, help);
                continue;
            }
            entries.push((Key { name, at: key.at }, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> (Option<Node>, Report) {
        let mut report = Report { source: source.into(), ..Report::default() };
        (parse(source, &mut report), report)
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let (root, report) = read("a: 1\nb:\n  - x\n  - {c: 'y z'}\n");
        assert!(report.diagnostics.is_empty());
        let Some(Node { value: Yaml::Map(entries), .. }) = root else { panic!("no mapping") };
        assert_eq!(entries[1].0.at, Position { line: 2, column: 1 });
        let Yaml::List(items) = &entries[1].1.value else { panic!("no list") };
        assert_eq!(items[0].at, Position { line: 3, column: 5 });
        let Yaml::Map(inner) = &items[1].value else { panic!("no inner mapping") };
        assert_eq!((inner[0].1.at, inner[0].1.scalar()), (Position { line: 4, column: 9 }, Some("y z")));
    }

    #[test]
    fn broken_deep_and_doubled_files_are_refused_with_a_place() {
        for (source, line, part) in [
            ("a: [1, 2\nb: 3", 2, "not valid YAML"),
            ("a: 1\nb: 2\na: 3\n", 3, "given twice"),
            ("a: 1\n---\nb: 1\n", 2, "second document"),
        ] {
            let (_, report) = read(source);
            assert_eq!(report.diagnostics.first().map(|d| d.at.line), Some(line), "{source}: {report}");
            assert!(report.diagnostics[0].message.contains(part), "{report}");
        }
        let (root, report) = read(&format!("{}{}", "[".repeat(200), "]".repeat(200)));
        assert!(root.is_none() && report.diagnostics[0].message.contains("nested deeper"));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut source = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let inner = vec![format!("*a{}", level - 1); 10].join(",");
            source += &format!("a{level}: &a{level} [{inner}]\n");
        }
        let (root, report) = read(&source);
        assert!(root.is_none() && report.diagnostics[0].message.contains("aliases"), "{report}");
    }
}
