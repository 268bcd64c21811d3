use super::super::pool::PoolConfig;
use super::*;
use std::sync::mpsc as std_mpsc;

const RATE: SampleRate = SampleRate(1_000);
const ONE: SegmentId = SegmentId(1);
const TWO: SegmentId = SegmentId(2);

/// "Hears" the audio as its length in samples and its last sample, after the gate lets it.
struct Ruler {
    gate: Option<Mutex<std_mpsc::Receiver<()>>>,
    calls: Arc<AtomicU64>,
}

impl Recognizer for Ruler {
    fn name(&self) -> &'static str {
        "ruler"
    }

    fn hear(&self, samples: &[i16], _: SampleRate, go_on: &dyn Fn() -> bool) -> Result<Option<Heard>, String> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            let _ = gate.lock().unwrap().recv();
        }
        if samples.last() == Some(&666) {
            return Err("bad sample".to_owned());
        }
        if samples.last() == Some(&667) {
            panic!("worse sample");
        }
        let text = format!("{} to {}", samples.len(), samples.last().unwrap_or(&0));
        Ok(go_on().then_some(Heard { text, confidence: 0.5, tokens: 2 }))
    }
}

struct Rig {
    stream: Box<dyn SttStream>,
    events: mpsc::Receiver<SttEvent>,
    stt: PooledStt<Ruler>,
    calls: Arc<AtomicU64>,
}

fn rig_with(gate: Option<std_mpsc::Receiver<()>>, queue: usize) -> Rig {
    let calls = Arc::new(AtomicU64::new(0));
    let pool = Arc::new(Pool::start(PoolConfig { threads: 1, queue }).unwrap());
    let stt = PooledStt::new(pool, Ruler { gate: gate.map(Mutex::new), calls: Arc::clone(&calls) });
    let request = SttRequest::new(RATE, Duration::from_millis(300));
    let (stream, events) = stt.open(request).unwrap();
    Rig { stream, events, stt, calls }
}

fn rig() -> Rig {
    rig_with(None, 8)
}

impl Rig {
    fn event(&mut self) -> String {
        show(self.events.blocking_recv().unwrap())
    }

    /// Everything that is still to come from jobs submitted so far.
    fn rest(mut self) -> Vec<String> {
        let pool = Arc::clone(&self.stt.pool);
        let (done, idle) = std_mpsc::channel();
        pool.submit("test", Lane::Background, None, move || done.send(()).unwrap(), |_| ()).unwrap();
        idle.recv().unwrap();
        drop(self.stream);
        std::iter::from_fn(|| self.events.blocking_recv()).map(show).collect()
    }

    /// Waits until the pool has begun the n-th clip.
    fn until_call(&self, n: u64) {
        while self.calls.load(Ordering::SeqCst) < n {
            std::thread::yield_now();
        }
    }
}

fn show(event: SttEvent) -> String {
    match event {
        SttEvent::Partial { segment, text } => format!("partial {}: {}", segment.0, text.expose()),
        SttEvent::Final { segment, text, audio, .. } => {
            format!("final {}: {} in {} ms", segment.0, text.expose(), audio.as_millis())
        }
        SttEvent::Failed { segment, error } => format!("failed {}: {error}", segment.0),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_segment_begins_with_the_pre_roll_and_ends_with_a_final() {
    let mut rig = rig();
    rig.stream.push(&[1_000; 900]);
    rig.stream.start(ONE);
    rig.stream.push(&[2_000; 100]);
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1: 400 to 2000 in 400 ms");
}

#[test]
fn partials_come_about_every_half_second_while_audio_is_pushed() {
    let mut rig = rig();
    rig.stream.start(ONE);
    for n in 1..=3 {
        rig.stream.push(&[1_000; 490]);
        rig.stream.push(&[1_000; 10]);
        assert_eq!(rig.event(), format!("partial 1: {} to 1000", n * 500));
    }
}

#[test]
fn a_resumed_segment_is_reported_whole_without_hearing_audio_twice() {
    let mut rig = rig();
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 200]);
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1: 200 to 1000 in 200 ms");
    rig.stream.push(&[1_100; 50]);
    rig.stream.start(ONE);
    rig.stream.push(&[2_000; 100]);
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1: 350 to 2000 in 350 ms");
}

#[test]
fn a_greater_segment_forgets_the_old_one_and_a_smaller_one_is_ignored() {
    let mut rig = rig();
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 200]);
    rig.stream.start(TWO);
    rig.stream.push(&[2_000; 100]);
    rig.stream.start(ONE);
    rig.stream.finish(TWO);
    assert_eq!(rig.event(), "final 2: 100 to 2000 in 100 ms");
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1:  in 0 ms", "a call that asks for a forgotten segment does not wait for ever");
}

#[test]
fn silence_is_answered_with_an_empty_final_and_never_reaches_the_model() {
    let mut rig = rig();
    rig.stream.start(ONE);
    rig.stream.push(&[3; 400]);
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1:  in 400 ms");
    assert_eq!(rig.calls.load(Ordering::SeqCst), 0);
}

#[test]
fn a_second_finish_without_new_audio_costs_no_second_decoding() {
    let mut rig = rig();
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 400]);
    rig.stream.finish(ONE);
    rig.stream.finish(ONE);
    let first = rig.event();
    assert_eq!(rig.event(), first);
    assert_eq!(rig.calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_discarded_segment_is_never_heard_of_again() {
    let (open, gate) = std_mpsc::channel();
    let mut rig = rig_with(Some(gate), 8);
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 400]);
    rig.stream.finish(ONE);
    rig.until_call(1);
    rig.stream.discard();
    drop(open);
    assert_eq!(rig.rest(), Vec::<String>::new());
}

#[test]
fn a_final_that_the_caller_has_talked_over_becomes_a_partial() {
    let (open, gate) = std_mpsc::channel();
    let mut rig = rig_with(Some(gate), 8);
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 400]);
    rig.stream.finish(ONE);
    rig.until_call(1);
    rig.stream.start(ONE);
    open.send(()).unwrap();
    assert_eq!(rig.event(), "partial 1: 400 to 1000");
    drop(open);
    rig.stream.push(&[1_500; 100]);
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1: 500 to 1500 in 500 ms");
}

#[test]
fn waiting_partials_are_replaced_and_a_final_stops_the_running_one() {
    let (open, gate) = std_mpsc::channel();
    let mut rig = rig_with(Some(gate), 8);
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 500]);
    rig.until_call(1);
    rig.stream.push(&[1_000; 500]);
    rig.stream.push(&[1_000; 500]);
    rig.stream.finish(ONE);
    drop(open);
    assert_eq!(rig.event(), "final 1: 1500 to 1000 in 1500 ms");
    assert_eq!(rig.stt.pool.stats().coalesced, 2);
    assert_eq!(rig.rest(), Vec::<String>::new());
}

#[test]
fn a_full_pool_fails_the_final_at_once_and_the_next_finish_may_succeed() {
    let (open, gate) = std_mpsc::channel();
    let mut rig = rig_with(Some(gate), 1);
    let pool = Arc::clone(&rig.stt.pool);
    rig.stream.start(ONE);
    rig.stream.push(&[1_000; 400]);
    rig.stream.finish(ONE);
    rig.until_call(1);
    pool.submit("other", Lane::Urgent, None, || (), |_| ()).unwrap();
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "failed 1: ruler is busy: 1 requests are waiting already");
    drop(open);
    assert_eq!(rig.event(), "final 1: 400 to 1000 in 400 ms", "the finish that was taken is answered");
    while pool.stats().urgent_waiting > 0 {
        std::thread::yield_now();
    }
    rig.stream.finish(ONE);
    assert_eq!(rig.event(), "final 1: 400 to 1000 in 400 ms");
}

#[test]
fn a_model_that_fails_or_panics_is_reported_and_serves_the_next_segment() {
    let mut rig = rig();
    for (segment, sample, expected) in [
        (1, 666, "failed 1: ruler failed: bad sample"),
        (2, 667, "failed 2: ruler failed: internal error: worse sample"),
        (3, 668, "final 3: 400 to 668 in 400 ms"),
    ] {
        rig.stream.start(SegmentId(segment));
        rig.stream.push(&[sample; 400]);
        rig.stream.finish(SegmentId(segment));
        assert_eq!(rig.event(), expected);
    }
}

#[test]
fn long_speech_is_heard_in_pieces_once_each_and_reported_whole() {
    let mut rig = rig();
    rig.stream.start(ONE);
    for second in 0..30 {
        rig.stream.push(&[1_000 + second; 800]);
        rig.stream.push(&[0; 200]);
    }
    rig.stream.finish(ONE);
    let last = loop {
        let event = rig.event();
        if event.starts_with("final") {
            break event;
        }
    };
    assert!(last.ends_with("in 30000 ms"), "{last}");
    let lengths: Vec<usize> =
        last.trim_start_matches("final 1: ").split(' ').step_by(3).filter_map(|n| n.parse().ok()).collect();
    assert!(lengths.len() >= 3 && lengths.iter().all(|n| *n <= 12_000), "{last}");
    assert_eq!(lengths.iter().sum::<usize>(), 30_000, "{last}");
}

#[test]
fn a_line_that_never_stops_talking_is_cut_off_at_two_minutes() {
    let mut rig = rig();
    rig.stream.start(ONE);
    for _ in 0..130 {
        rig.stream.push(&[1_000; 1_000]);
    }
    rig.stream.finish(ONE);
    let last = loop {
        let event = rig.event();
        if event.starts_with("final") {
            break event;
        }
    };
    assert!(last.ends_with("in 120000 ms"), "{last}");
}

#[test]
fn the_confidence_of_joined_clips_weighs_their_tokens() {
    let heard = |text: &str, confidence, tokens| Heard { text: text.to_owned(), confidence, tokens };
    let whole = join(&[heard("one", 1.0, 3), Heard::default(), heard("two", 0.0625, 1)]);
    assert_eq!(whole.text, "one two");
    assert!((whole.confidence - 0.5).abs() < 1e-3);
    assert_eq!(join(&[]), Heard::default());
}
