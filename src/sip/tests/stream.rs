//! Framing: any chunking gives the same, limits hold, time is short.

use super::*;
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);

fn framer(now: Instant) -> Framer {
    Framer::new(now, StreamDeadlines::STRANGER)
}

/// Everything a stream gives when it is fed in pieces of these sizes, over and over.
fn items(stream: &[u8], sizes: &[usize]) -> (Vec<StreamItem>, Option<StreamFault>) {
    let now = Instant::now();
    let (mut framer, mut items, mut rest) = (framer(now), Vec::new(), stream);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, after) = rest.split_at(rest.len().min(*size));
        loop {
            match framer.next(now, &mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(fault) => return (items, Some(fault)),
            }
        }
        assert!(piece.is_empty());
        rest = after;
    }
    (items, None)
}

fn message(body: &str) -> Vec<u8> {
    format!("OPTIONS sip:us SIP/2.0\r\nCall-ID: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn fault_of(stream: &[u8]) -> String {
    items(stream, &[usize::MAX]).1.expect("a fault").to_string()
}

#[test]
fn two_messages_in_one_piece_and_one_in_single_bytes_come_out_whole() {
    let (first, second) = (message("one"), message(""));
    let stream = [&first[..], &second[..]].concat();
    let whole = vec![StreamItem::Message(first), StreamItem::Message(second)];
    for size in [1, 2, 7, 60, 1_000] {
        assert_eq!(items(&stream, &[size]), (whole.clone(), None));
    }
}

#[test]
fn a_double_line_break_is_a_ping_and_a_single_one_is_nothing() {
    assert_eq!(items(b"\r\n", &[1]).0, []);
    assert_eq!(items(b"\r\n\r\n", &[1]).0, [StreamItem::Ping]);
    let stream = [b"\r\n\r\n\r\n", &message("x")[..], b"\r\n\r\n\r\n\0"].concat();
    assert_eq!(items(&stream, &[3]).0, [StreamItem::Ping, StreamItem::Message(message("x")), StreamItem::Ping]);
}

#[test]
fn the_line_break_after_a_ping_of_ours_is_its_answer_and_no_half_ping() {
    let now = Instant::now();
    let mut framer = framer(now);
    for _ in 0..3 {
        framer.expect_pong();
        assert_eq!(framer.next(now, &mut &b"\r\n"[..]), Ok(Some(StreamItem::Pong)));
    }
    assert_eq!(framer.next(now, &mut &b"\r\n\r\n"[..]), Ok(Some(StreamItem::Ping)));
}

#[test]
fn a_stream_without_usable_length_is_given_up() {
    for (headers, word) in [
        ("Call-ID: 1\r\n", "Content-Length"),
        ("Content-Length: -1\r\n", "number"),
        ("Content-Length: 1\r\nl: 2\r\n", "one such"),
        ("Content-Length: 99999999999999999999\r\n", "number"),
        ("Content-Length: 65536\r\n", "shorter message"),
    ] {
        let fault = fault_of(format!("OPTIONS sip:us SIP/2.0\r\n{headers}\r\n").as_bytes());
        assert!(fault.contains(word), "{headers}: {fault}");
    }
}

#[test]
fn endless_lines_folds_headers_and_heads_end_the_stream_before_they_fill_memory() {
    let start = "OPTIONS sip:us SIP/2.0\r\n";
    let line = format!("{start}Subject: {}", "a".repeat(9_000));
    let folds = format!("{start}Subject: a\r\n{}", format!(" {}\r\n", "b".repeat(500)).repeat(20));
    let headers = format!("{start}{}", "a:b\r\n".repeat(200));
    let heads = format!("{start}{}", format!("a: {}\r\n", "b".repeat(8_000)).repeat(20));
    let words = ["shorter header", "shorter header", "fewer headers", "the end of the headers"];
    for (stream, words) in [line, folds, headers, heads].iter().zip(words) {
        for size in [1, 100, 4_096, usize::MAX] {
            let (items, fault) = items(stream.as_bytes(), &[size]);
            assert!(items.is_empty() && fault.clone().unwrap().to_string().contains(words), "{fault:?}");
        }
    }
}

#[test]
fn a_slow_head_has_five_seconds_and_a_slow_body_five_more() {
    let start = Instant::now();
    let mut framer = framer(start);
    let bytes = message("body");
    let (head, body) = bytes.split_at(bytes.len() - 4);
    assert_eq!(framer.next(start + 60 * S, &mut &head[..1]), Ok(None));
    // Each further byte in time does not help.
    for i in 1..head.len() - 1 {
        assert_eq!(framer.next(start + 64 * S, &mut &head[i..=i]), Ok(None));
    }
    assert_eq!(framer.poll_timeout(), start + 65 * S);
    assert_eq!(framer.handle_timeout(start + 65 * S), Err(StreamFault::SlowHeader));
    assert_eq!(framer.next(start + 64 * S, &mut &head[head.len() - 1..]), Ok(None));
    assert_eq!(framer.handle_timeout(start + 68 * S), Ok(()));
    assert_eq!(framer.next(start + 68 * S, &mut &body[..3]), Ok(None));
    assert_eq!(framer.handle_timeout(start + 69 * S), Err(StreamFault::SlowBody));
}

#[test]
fn silence_ends_a_strangers_stream_after_two_minutes_and_a_peers_after_an_hour() {
    let start = Instant::now();
    let mut framer = framer(start);
    assert_eq!(framer.handle_timeout(start + 119 * S), Ok(()));
    assert_eq!(framer.handle_timeout(start + 120 * S), Err(StreamFault::Idle));
    framer.next(start + 100 * S, &mut &b"\r\n\r\n"[..]).unwrap();
    assert_eq!(framer.poll_timeout(), start + 220 * S);
    // A lone line break is no life.
    framer.next(start + 200 * S, &mut &b"\r\n"[..]).unwrap();
    assert_eq!(framer.poll_timeout(), start + 220 * S);
    framer.set_deadlines(StreamDeadlines::PEER);
    assert_eq!(framer.poll_timeout(), start + 3_700 * S);
}

proptest! {
    #[test]
    fn what_the_fuzzer_checks_holds_for_streams_that_look_like_sip(
        size in any::<u8>(),
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "OPTIONS sip:a SIP/2.0\r\n", "SIP/2.0 200 OK\n", "Content-Length: 3\r\n", "l:0\n", "l:\r\n 2\r\n",
                "\r\n", "\n", "\r", " fold\r\n", "\0", "abc", "Content-Length: 70000\r\n", "X: y\r\n",
            ]),
            0..30,
        ),
    ) {
        super::super::fuzz::sip_stream(&[&[size], parts.concat().as_bytes()].concat());
    }

    #[test]
    fn any_chunking_gives_the_same_messages(
        bodies in prop::collection::vec("[a-z\r\n]{0,40}", 1..6),
        gaps in prop::collection::vec("[\r\n]{0,6}", 6),
        sizes in prop::collection::vec(1usize..50, 1..8),
    ) {
        let mut stream = Vec::new();
        for (body, gap) in bodies.iter().zip(&gaps) {
            stream.extend_from_slice(gap.as_bytes());
            stream.extend_from_slice(&message(body));
        }
        let whole = items(&stream, &[usize::MAX]);
        let messages = whole.0.iter().filter(|item| matches!(item, StreamItem::Message(_))).count();
        prop_assert_eq!(messages, bodies.len());
        prop_assert_eq!(items(&stream, &sizes), whole);
    }
}
