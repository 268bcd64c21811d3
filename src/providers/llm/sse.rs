//! Server-sent events as they arrive, cut anywhere (WHATWG HTML, section 9.2).
//!
//! Lines end with LF, CRLF or CR; a space behind the colon is optional; lines that begin with a colon are comments;
//! several `data` lines of one event are joined by LF. An event that the stream ends in is dropped, as it is not whole.

use crate::providers::limits::EVENT_BYTES;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// Its `event` field, if it has one.
    pub name: Option<String>,
    /// Its `data`.
    pub data: String,
}

/// An event larger than [`EVENT_BYTES`]: the vendor is broken, or not the vendor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an event larger than {EVENT_BYTES} octets")]
pub struct TooLarge;

/// The parser of one stream. Memory is bounded by [`EVENT_BYTES`]; after [`TooLarge`] it is of no use.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    name: Option<String>,
    data: Option<String>,
    /// The last octet was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The first line, which may begin with a byte order mark, is behind.
    begun: bool,
}

impl Events {
    /// Takes the next octets and appends the events they complete.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn push(&mut self, octets: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut rest = octets;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|octet| matches!(octet, b'\n' | b'\r')) {
            let (line, ending) = rest.split_at(end);
            self.take(line)?;
            self.line_ends(events);
            rest = match ending {
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.take(rest)
    }

    fn take(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        if held + part.len() > EVENT_BYTES {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn line_ends(&mut self, events: &mut Vec<Event>) {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if line.is_empty() {
            let name = self.name.take();
            if let Some(data) = self.data.take() {
                events.push(Event { name, data });
            }
            return;
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "event" => self.name = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// The body of the fuzz target `sse`: any octets, cut anywhere, give the same events as in one piece, and no more of
/// them than there are octets.
#[cfg(any(test, feature = "fuzzing"))]
pub fn fuzz(octets: &[u8]) {
    let (cuts, octets) = octets.split_at(octets.len().min(4));
    let whole = {
        let mut events = Vec::new();
        let outcome = Events::default().push(octets, &mut events);
        (events, outcome)
    };
    assert!(whole.0.len() <= octets.len());
    let (mut parser, mut events, mut outcome) = (Events::default(), Vec::new(), Ok(()));
    let mut rest = octets;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() && outcome.is_ok() {
        let length = cuts.next().map_or(1, |cut| usize::from(*cut) + 1).min(rest.len());
        let (part, behind) = rest.split_at(length);
        outcome = parser.push(part, &mut events);
        rest = behind;
    }
    assert_eq!((events, outcome), whole);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(Option<String>, String)> {
        let mut events = Vec::new();
        Events::default().push(text.as_bytes(), &mut events).expect("small");
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn data(text: &str) -> Vec<String> {
        read(text).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn data_comes_with_or_without_a_space_and_with_every_line_end() {
        assert_eq!(data("data: a\n\ndata:b\r\n\r\ndata:  c\r\rdata\n\n"), ["a", "b", " c", ""]);
    }

    #[test]
    fn several_lines_of_data_are_one_event() {
        assert_eq!(data("data: {\ndata: }\n\n"), ["{\n}"]);
    }

    #[test]
    fn an_event_keeps_its_name_and_the_next_one_has_none() {
        let events = read("event: ping\ndata: 1\n\ndata: 2\n\n");
        assert_eq!(events, [(Some("ping".into()), "1".into()), (None, "2".into())]);
    }

    #[test]
    fn comments_ids_unknown_fields_and_events_without_data_are_passed_over() {
        assert_eq!(data(": alive\n\nid: 7\nretry: 10\nfoo: bar\ndata: a\n\nevent: nothing\n\ndata: b\n\n"), ["a", "b"]);
        let events = read("event: nothing\n\ndata: b\n\n");
        assert_eq!(events, [(None, "b".into())], "a name does not outlive its event");
    }

    #[test]
    fn an_event_that_the_stream_ends_in_is_dropped() {
        assert_eq!(data("data: whole\n\ndata: ha"), ["whole"]);
        assert_eq!(data("data: whole\n\ndata: no blank line\n"), ["whole"]);
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_at_the_start_only() {
        assert_eq!(data("\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n"), ["a", "c"]);
    }

    #[test]
    fn an_event_without_end_is_refused_at_the_limit() {
        let (mut parser, mut events) = (Events::default(), Vec::new());
        assert_eq!(parser.push(&vec![b'x'; EVENT_BYTES], &mut events), Ok(()));
        assert_eq!(parser.push(b"x", &mut events), Err(TooLarge));
        let mut parser = Events::default();
        let line = format!("data: {}\n", "x".repeat(EVENT_BYTES / 4));
        let outcomes: Vec<_> = (0..5).map(|_| parser.push(line.as_bytes(), &mut events)).collect();
        assert!(outcomes.contains(&Err(TooLarge)), "many short lines count together");
    }

    proptest! {
        #[test]
        fn cutting_the_octets_anywhere_changes_nothing(octets in proptest::collection::vec(
            prop_oneof![3 => Just(b'\n'), 2 => Just(b'\r'), 2 => Just(b':'), 1 => Just(b' '), 3 => Just(b'd'),
                2 => any::<u8>()], 0..300)) {
            fuzz(&octets);
        }

        #[test]
        fn what_is_written_as_events_is_read_back(texts in proptest::collection::vec("[^\r\n]{0,40}", 0..10), cut in 1usize..9) {
            let written: String = texts.iter().map(|text| format!("event: e\r\ndata: {text}\r\n\r\n")).collect();
            let (mut parser, mut events) = (Events::default(), Vec::new());
            for part in written.as_bytes().chunks(cut) {
                parser.push(part, &mut events).expect("small");
            }
            let read: Vec<String> = events.into_iter().map(|event| event.data).collect();
            prop_assert_eq!(read, texts);
        }
    }
}
