use super::*;
use crate::media::Downlink;
use crate::media::framed::ring;
use std::sync::Arc;
use std::time::Duration;

struct Line {
    player: Player,
    downlink: Downlink,
    shared: Arc<Shared>,
    events: Vec<LegEvent>,
    start: Instant,
    turns: u32,
}

impl Line {
    fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let (producer, consumer) = ring(RING_FRAMES, 160);
        let mut downlink = Downlink::new(Arc::clone(&shared));
        downlink.start(producer, SampleRate::NARROWBAND);
        Self {
            player: Player::new(consumer, SampleRate::NARROWBAND),
            downlink,
            shared,
            events: Vec::new(),
            start: Instant::now(),
            turns: 0,
        }
    }

    fn next(&mut self) -> ([i16; 160], Content) {
        let mut frame = [1; 160];
        let now = self.start + Duration::from_millis(20) * self.turns;
        self.turns += 1;
        let events = &mut self.events;
        let content = self.player.next(now, &mut frame, &self.shared, &mut |event| events.push(event));
        (frame, content)
    }

    fn ended(&mut self) -> Vec<(u32, u64)> {
        let ended = |e: LegEvent| match e {
            LegEvent::PlayoutEnded { turn, samples_played, .. } => Some((turn.0, samples_played)),
            _ => None,
        };
        std::mem::take(&mut self.events).into_iter().filter_map(ended).collect()
    }
}

const ONE: TurnId = TurnId(1);
const TWO: TurnId = TurnId(2);

#[test]
fn a_turn_is_played_in_order_and_reported_once() {
    let mut line = Line::new();
    assert_eq!(line.next().1, Content::Silence);
    let samples: Vec<i16> = (0..400).map(|n| 1_000 + n).collect();
    assert_eq!(line.downlink.push(ONE, &samples), 400);
    line.downlink.end_of_turn(ONE);
    let (first, content) = line.next();
    assert_eq!((first[40], content), (1_040, Content::Audio { starts: Some(ONE) }));
    assert_eq!(line.next().1, Content::Audio { starts: None });
    let (last, _) = line.next();
    assert_eq!((last[39], last[80]), (1_359, 0));
    assert!(last[79] < 10, "the cut is smoothed");
    assert_eq!(line.downlink.played(ONE), 400);
    assert_eq!(line.ended(), [(1, 400)]);
    assert_eq!(line.next().1, Content::Silence);
    assert_eq!((line.events.len(), line.player.starved), (0, 0));
}

#[test]
fn the_start_is_the_first_audible_frame() {
    let mut line = Line::new();
    line.downlink.push(ONE, &[20; 320]);
    line.downlink.push(ONE, &[-3_000; 160]);
    let starts: Vec<Content> = (0..3).map(|_| line.next().1).collect();
    assert_eq!(
        starts,
        [Content::Audio { starts: None }, Content::Audio { starts: None }, Content::Audio { starts: Some(ONE) }]
    );
}

#[test]
fn pieces_of_any_size_make_whole_frames() {
    let mut line = Line::new();
    let samples: Vec<i16> = (0..1_600).map(|n| n as i16 + 1).collect();
    for piece in samples.chunks(37) {
        assert_eq!(line.downlink.push(ONE, piece), piece.len());
    }
    line.downlink.end_of_turn(ONE);
    let played: Vec<i16> = (0..10).flat_map(|_| line.next().0).collect();
    assert_eq!(played, samples);
}

#[test]
fn an_empty_ring_within_a_turn_is_starved_and_after_its_end_silent() {
    let mut line = Line::new();
    line.downlink.push(ONE, &[500; 160]);
    line.next();
    let (fade, _) = line.next();
    assert!(fade[0] > 400 && fade[39] < 30 && fade[40] == 0);
    line.next();
    line.downlink.push(ONE, &[500; 160]);
    line.next();
    assert_eq!(line.events.pop(), Some(LegEvent::Starved { turn: ONE, frames: 2 }));
    assert_eq!(line.player.starved, 2);
    line.downlink.end_of_turn(ONE);
    line.next();
    assert_eq!(line.ended(), [(1, 320)]);
    line.next();
    assert_eq!(line.player.starved, 2);
}

#[test]
fn a_flush_fades_within_ten_milliseconds_and_reports_what_was_played() {
    let mut line = Line::new();
    line.downlink.push(ONE, &[8_000; 1_600]);
    line.next();
    line.downlink.flush_through(ONE);
    let (frame, content) = line.next();
    assert_eq!(content, Content::Audio { starts: None });
    assert!(frame[0] > 7_000 && frame[79] < 200 && frame[80..].iter().all(|s| *s == 0));
    assert_eq!(line.ended(), [(1, 240)]);
    assert_eq!(line.downlink.played(ONE), 240);
    assert_eq!(line.next().1, Content::Silence);
    assert!(line.player.turn.is_none() && line.player.ring.is_empty());
}

#[test]
fn audio_of_a_flushed_turn_that_comes_later_is_dropped() {
    let mut line = Line::new();
    line.downlink.push(ONE, &[8_000; 200]);
    line.downlink.flush_through(ONE);
    assert_eq!(line.downlink.push(ONE, &[8_000; 500]), 500);
    line.downlink.end_of_turn(ONE);
    assert_eq!(line.next().1, Content::Silence);
    assert_eq!(line.ended(), [(1, 0)], "one report although it never played");
    line.downlink.push(TWO, &[300; 160]);
    assert_eq!(line.next().0[40..], [300; 120]);
}

#[test]
fn several_queued_turns_are_flushed_at_once_and_a_later_one_lives() {
    let mut line = Line::new();
    for turn in 1..=4 {
        line.downlink.push(TurnId(turn), &[1_000 * turn as i16; 320]);
        line.downlink.end_of_turn(TurnId(turn));
    }
    line.next();
    line.downlink.flush_through(TurnId(3));
    line.next();
    assert_eq!(line.ended(), [(1, 240), (2, 0), (3, 0)]);
    assert_eq!(line.next().0[40..], [4_000; 120]);
}

#[test]
fn a_turn_that_follows_ends_the_one_before() {
    let mut line = Line::new();
    line.downlink.push(ONE, &[100; 160]);
    line.downlink.push(TWO, &[200; 160]);
    line.next();
    line.next();
    assert_eq!(line.ended(), [(1, 160)]);
}

#[test]
fn the_ring_takes_more_than_a_second_then_says_no_and_still_ends_turns() {
    let mut line = Line::new();
    let free = line.downlink.free();
    assert!(free >= 8_000);
    assert_eq!(line.downlink.push(ONE, &vec![900; 20_000]), free);
    assert_eq!((line.downlink.push(ONE, &[900; 160]), line.downlink.free()), (0, 0));
    line.downlink.end_of_turn(ONE);
    for _ in 0..100 {
        line.next();
    }
    assert_eq!(line.ended(), [(1, free as u64)]);
    assert_eq!(line.downlink.queued(), 0);
}

#[test]
fn an_empty_turn_is_reported() {
    let mut line = Line::new();
    line.downlink.end_of_turn(ONE);
    line.next();
    assert_eq!(line.ended(), [(1, 0)]);
}

#[test]
fn tones_make_no_events_and_survive_only_until_the_next_flush() {
    let mut line = Line::new();
    line.downlink.push(TurnId::NONE, &[700; 480]);
    assert_eq!(line.next().0[40..], [700; 120]);
    line.downlink.flush_through(TurnId(5));
    let (faded, _) = line.next();
    assert!(faded[0] > 600 && faded[40..].iter().all(|sample| *sample == 0));
    assert_eq!(line.next().1, Content::Silence);
    line.downlink.push(TurnId::NONE, &[800; 160]);
    assert_eq!(line.next().0[40..], [800; 120]);
    line.next();
    assert!(line.events.is_empty());
    assert_eq!(line.player.starved, 0);
}

#[test]
fn while_held_flushes_are_obeyed_and_audio_waits() {
    let mut line = Line::new();
    line.downlink.push(ONE, &[100; 320]);
    let (shared, events) = (Arc::clone(&line.shared), &mut line.events);
    line.player.hold(line.start, &shared, &mut |event| events.push(event));
    assert!(line.events.is_empty());
    line.downlink.flush_through(ONE);
    let events = &mut line.events;
    line.player.hold(line.start, &shared, &mut |event| events.push(event));
    assert_eq!(line.ended(), [(1, 0)]);
}

/// Share of the energy of `samples` that lies outside a tone of 1 kHz, in dB below the tone, above 2.5 kHz: what is heard
/// as a click.
fn click_db(samples: &[i16], rate: u32) -> f32 {
    let energy = |hz: f32| {
        let (mut re, mut im) = (0.0f32, 0.0f32);
        for (n, sample) in samples.iter().enumerate() {
            // A Hann window, so that the edges of the excerpt are not taken for clicks.
            let window = 0.5 - 0.5 * (n as f32 / samples.len() as f32 * std::f32::consts::TAU).cos();
            let (sin, cos) = (n as f32 * hz / rate as f32 * std::f32::consts::TAU).sin_cos();
            re += f32::from(*sample) * window * cos;
            im += f32::from(*sample) * window * sin;
        }
        re * re + im * im
    };
    let bin = rate as f32 / samples.len() as f32;
    let highest = (2_500.0 / bin) as usize..(rate as f32 / 2.0 / bin) as usize;
    let worst = highest.map(|n| energy(n as f32 * bin)).fold(0.0, f32::max);
    10.0 * (worst / energy(1_000.0)).log10()
}

#[test]
fn no_cut_clicks_above_minus_forty_decibels_at_any_rate() {
    for rate in [8_000, 16_000, 24_000, 48_000].map(SampleRate) {
        let frame = rate.samples_in_ms(20);
        let tone: Vec<i16> = (0..frame * 10)
            .map(|n| (12_000.0 * (n as f32 * 1_000.0 / rate.0 as f32 * std::f32::consts::TAU).cos()) as i16)
            .collect();
        for cut in ["flush", "starve", "end", "other turn"] {
            let shared = Arc::new(Shared::default());
            let (producer, consumer) = ring(RING_FRAMES, frame);
            let (mut player, mut downlink) = (Player::new(consumer, rate), Downlink::new(Arc::clone(&shared)));
            downlink.start(producer, rate);
            // Three whole frames and a piece, so that the cut falls into the middle of a wave.
            let pushed = if cut == "flush" { frame * 8 } else { frame * 3 + frame / 3 };
            downlink.push(ONE, &tone[..pushed]);
            match cut {
                "end" => downlink.end_of_turn(ONE),
                "other turn" => {
                    downlink.push(TWO, &tone[frame / 7..]);
                }
                _ => {}
            }
            let mut heard = Vec::new();
            for n in 0..7 {
                if n == 3 && cut == "flush" {
                    downlink.flush_through(ONE);
                }
                let mut samples = vec![0; frame];
                player.next(Instant::now(), &mut samples, &shared, &mut |_| ());
                heard.extend(samples);
            }
            let click = click_db(&heard, rate.0);
            assert!(click < -40.0, "{cut} at {} Hz: {click:.1} dB", rate.0);
        }
    }
}
