//! The interop harness proves itself: peers without the server, and a comparison that can fail.

use crate::phones::{Line, call_once};
use crate::support::{Asterisk, Bench, babble, compare, run, sipp, sipp_count, write_ulaw};

#[test]
fn the_comparison_finds_delayed_audio_and_misses_dropped_audio() {
    let sent = babble(5);
    let mut delayed = vec![0; 1_234];
    delayed.extend(&sent);
    let whole = compare(&sent, &delayed);
    assert_eq!(whole.found, whole.voiced);
    assert!(whole.voiced > 20 && (whole.delay_ms - 154.25).abs() < 0.2, "{whole:?}");

    // A second of it lost.
    delayed[16_000..24_000].fill(0);
    let holed = compare(&sent, &delayed);
    assert!(holed.share() < 0.95 && holed.share() > 0.6, "{holed:?}");

    let other: Vec<i16> = sent.iter().rev().copied().collect();
    let other = compare(&sent, &other);
    assert!(other.share() < 0.5, "{other:?}");
}

#[test]
fn baresip_hears_its_own_voice_from_asterisks_echo() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let mut played = babble(8);
    // baresip hangs up at the end of its file.
    played.extend(vec![0; 40 * 8_000]);
    let line = Line::extension(bench.address(30), "1002", &asterisk.address());
    let uri = format!("sip:600@{}", asterisk.address());
    let heard = call_once("baresip", &bench.path().join("baresip"), &line, &played, &uri, 10);
    let found = compare(&played[..8 * 8_000], &heard);
    assert!(found.share() >= 0.9, "{found:?}");
}

#[test]
fn sipps_audio_arrives_in_asterisks_recording_over_the_trunk() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 60);
    let spoken = babble(5);
    let directory = bench.path().join("sipp");
    let (ip, target) = (bench.address(20).to_string(), asterisk.address());
    let mut command = sipp(
        &directory,
        "caller",
        &["-s", "605", "-i", &ip, "-mi", &ip, "-m", "1", "-d", "6000", "-timeout", "30", &target],
    );
    write_ulaw(&directory.join("speech.ulaw"), &spoken);
    run(&mut command);
    let count = sipp_count(&directory);
    assert_eq!((count.successful, count.failed), (1, 0), "{count:?}");
    let found = compare(&spoken, &asterisk.recording("605-in.wav"));
    assert!(found.share() >= 0.95, "{found:?}");
}
