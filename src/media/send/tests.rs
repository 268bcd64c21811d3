use super::*;
use crate::audio::codec::{Coding, OpusSettings};
use crate::media::leg::example;
use crate::rtp::Packet;
use crate::sdp::Codec;

struct Line {
    media: LegMedia,
    sender: Sender,
    mouth: Mouth,
}

impl Line {
    fn new(media: LegMedia, coding: Coding) -> Self {
        let mouth = Mouth::new(coding, coding.sample_rate(), media.ptime_ms).unwrap();
        Self { media, sender: Sender::new(&mut Random::seeded(1)), mouth }
    }

    /// What leaves in one turn in which this is said.
    fn turn(&mut self, level: i16) -> Vec<(Header, Vec<u8>)> {
        let frame = vec![level; self.mouth_frame()];
        match self.sender.digit_turn(&self.media, &self.mouth) {
            Some(DigitTurn::Event(..)) => {}
            Some(DigitTurn::Silence) => self.sender.push(&self.media, &mut self.mouth, &vec![0; frame.len()], false),
            Some(DigitTurn::Audio) | None => self.sender.push(&self.media, &mut self.mouth, &frame, level == 0),
        }
        let mut buffer = [0; PACKET];
        let mut packets = Vec::new();
        while let Some(len) = self.sender.next_packet(&self.media, &mut self.mouth, &mut buffer) {
            let packet = Packet::parse(&buffer[..len]).unwrap();
            packets.push((packet.header, packet.payload.to_vec()));
        }
        packets
    }

    fn mouth_frame(&self) -> usize {
        match self.media.codec {
            Codec::Pcmu | Codec::Pcma => 160,
            Codec::G722 | Codec::Opus => 320,
        }
    }
}

#[test]
fn sequence_and_timestamp_go_on_without_a_hole_at_every_packet_time() {
    for ptime_ms in [10, 20, 30, 40, 60] {
        let mut line = Line::new(LegMedia { ptime_ms, ..example() }, Coding::Pcmu);
        let packets: Vec<_> = (0..12).flat_map(|_| line.turn(500)).collect();
        assert_eq!(
            packets.iter().map(|(_, payload)| payload.len()).sum::<usize>(),
            12 * 160 / (usize::from(ptime_ms) * 8) * (usize::from(ptime_ms) * 8)
        );
        for pair in packets.windows(2) {
            let ticks = pair[0].1.len() as u32;
            assert_eq!(pair[1].0.timestamp, pair[0].0.timestamp.wrapping_add(ticks), "{ptime_ms} ms");
            assert_eq!(pair[1].0.sequence, pair[0].0.sequence + 1);
            assert!(!pair[1].0.marker);
        }
    }
}

#[test]
fn a_digit_takes_the_place_of_audio() {
    let mut line = Line::new(example(), Coding::Pcmu);
    assert!(line.sender.push_digit('5'));
    let packets: Vec<_> = (0..12).flat_map(|_| line.turn(500)).collect();
    let events: Vec<_> = packets.iter().filter(|(header, _)| header.payload_type == 101).collect();
    assert_eq!((packets.len(), events.len()), (12, 8));
    assert!(events.iter().all(|(header, payload)| payload[0] == 5 && header.timestamp == events[0].0.timestamp));
    let resumed = &packets[8].0;
    assert_eq!(resumed.timestamp, events[0].0.timestamp.wrapping_add(8 * 160), "the clock went on meanwhile");
    assert!(!line.sender.push_digit('x'));
}

#[test]
fn digits_beside_opus_count_in_its_clock() {
    let media = LegMedia { telephone_event: Some(101), ..LegMedia::bare(example().remote, Codec::Opus) };
    let mut line = Line::new(media, Coding::Opus(OpusSettings::VOICE));
    line.sender.push_digit('#');
    let packets: Vec<_> = (0..14).flat_map(|_| line.turn(500)).collect();
    let durations: Vec<u16> = packets
        .iter()
        .filter(|(header, _)| header.payload_type == 101)
        .map(|(_, payload)| u16::from_be_bytes([payload[2], payload[3]]))
        .collect();
    assert_eq!(durations, [960, 1_920, 2_880, 3_840, 4_800, 4_800, 4_800, 4_800]);
    let (first, after) = (packets[0].0.timestamp, packets[8].0.timestamp);
    assert_eq!(after, first.wrapping_add(8 * 960));
}

#[test]
fn after_a_pause_the_marker_is_set_and_the_clock_has_gone_on() {
    let mut line = Line::new(example(), Coding::Pcmu);
    let first = line.turn(500)[0].0;
    line.sender.pause(&mut line.mouth, 50);
    let second = line.turn(500)[0].0;
    assert!(first.marker && second.marker);
    assert_eq!(second.timestamp, first.timestamp.wrapping_add(51 * 160));
    assert_eq!(second.sequence, first.sequence + 1);
}

#[test]
fn silence_is_sent_unless_both_sides_want_comfort_noise() {
    for media in
        [example(), LegMedia { suppress_silence: true, ..example() }, LegMedia { comfort_noise: Some(13), ..example() }]
    {
        let mut line = Line::new(media, Coding::Pcmu);
        assert_eq!((0..100).flat_map(|_| line.turn(0)).filter(|(header, _)| header.payload_type == 0).count(), 100);
    }
}

#[test]
fn suppressed_silence_is_noise_once_a_second_and_speech_starts_a_spurt() {
    let media = LegMedia { suppress_silence: true, comfort_noise: Some(13), ..example() };
    let mut line = Line::new(media, Coding::Pcmu);
    let start = line.turn(900)[0].0;
    let quiet: Vec<_> = (0..111).flat_map(|_| line.turn(0)).collect();
    let noise: Vec<_> = quiet.iter().filter(|(header, _)| header.payload_type == 13).collect();
    assert_eq!((quiet.len(), noise.len()), (13, 3), "ten turns are sent, then one packet per second");
    assert!(noise.iter().all(|(header, payload)| *payload == [127] && !header.marker));
    assert_eq!(noise[1].0.timestamp.wrapping_sub(noise[0].0.timestamp), 50 * 160);
    let (spurt, _) = line.turn(900)[0];
    assert!(spurt.marker);
    assert_eq!(spurt.timestamp, start.timestamp.wrapping_add(112 * 160));
    assert_eq!(spurt.sequence, quiet.last().unwrap().0.sequence + 1);
}

#[test]
fn comfort_noise_has_the_level_of_the_pause_that_it_stands_for() {
    let media = LegMedia { suppress_silence: true, comfort_noise: Some(13), ..example() };
    for (samples, peak) in [(160, 60.0f32), (160, 20.0), (320, 60.0)] {
        let mut line = Line::new(media.clone(), Coding::Pcmu);
        let mut random = Random::seeded(5);
        let mut hiss = || ((random.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0) * peak;
        let mut noise = Vec::new();
        let mut packet = [0; PACKET];
        for _ in 0..20 {
            let frame: Vec<i16> = (0..samples).map(|_| hiss() as i16).collect();
            line.sender.push(&line.media, &mut line.mouth, &frame, true);
            while let Some(length) = line.sender.next_packet(&line.media, &mut line.mouth, &mut packet) {
                noise.extend((packet[1] & 0x7F == 13).then(|| packet[HEADER_LEN..length].to_vec()));
            }
        }
        let [described] = noise.as_slice() else { panic!("{noise:?}") };
        let level = 20.0 * (32_768.0 / (peak / 3.0f32.sqrt())).log10();
        assert!((f32::from(described[0]) - level).abs() < 2.0, "{} for {level}", described[0]);
        assert_eq!(described.len() > 1, samples == 160, "the shape is known at the clock of comfort noise alone");
    }
}

#[test]
fn opus_that_is_silent_by_itself_skips_packets_and_keeps_its_clock() {
    let settings = OpusSettings { dtx: true, ..OpusSettings::VOICE };
    let mut line = Line::new(LegMedia::bare(example().remote, Codec::Opus), Coding::Opus(settings));
    let packets: Vec<_> = (0..100).flat_map(|_| line.turn(0)).collect();
    assert!(packets.len() < 50, "{}", packets.len());
    let turns = |n: usize| packets[n].0.timestamp.wrapping_sub(packets[n - 1].0.timestamp) / 960;
    let pauses: Vec<usize> = (1..packets.len()).filter(|n| turns(*n) > 1).collect();
    assert!(!pauses.is_empty() && pauses.iter().all(|n| packets[*n].0.marker));
}
