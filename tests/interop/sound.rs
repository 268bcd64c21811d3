//! Human speech through the echo of a real PBX in every codec that it speaks: what comes back is scored against what was
//! said. Prints its table.

use std::{fmt::Write as _, time::Duration};

use crate::common::{score::score, speech::human_clips};
use crate::own::Own;
use crate::phones::rates::{lower, raise};
use crate::support::{Asterisk, Bench};
use offhook::{call::MediaTerms, sdp::Codec, sip::Transport};

/// Seconds of speech.
const SECONDS: usize = 8;
/// Points of 100 that the speech keeps on its way to the PBX and back.
const KEPT: [(Codec, f64); 4] = [(Codec::Pcmu, 85.0), (Codec::Pcma, 82.0), (Codec::G722, 85.0), (Codec::Opus, 75.0)];

#[test]
fn speech_comes_back_from_the_pbxs_echo_in_every_codec_as_it_was_said() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 3600);
    let spoken: Vec<i16> = human_clips().into_iter().flat_map(|clip| clip.samples).take(SECONDS * 8_000).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let heard = runtime.block_on(async {
        let own = Own::open_by(&bench, &asterisk, Transport::Udp);
        let mut calls = Vec::new();
        for (codec, _) in KEPT {
            let line = format!("{}-plain", codec.encoding_name().to_lowercase());
            let terms = MediaTerms::from(&[codec]);
            let call = own.dial_as(&asterisk, Transport::Udp, "600", &line, terms).await;
            calls.push(call.unwrap_or_else(|why| panic!("{line}: {why}")));
        }
        // Buffers on both sides settle, then all speak at the same time.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for call in &calls {
            drop(call.take_heard());
            call.say(&raise(&spoken, call.factor()));
        }
        tokio::time::sleep(Duration::from_secs(SECONDS as u64 + 2)).await;
        let heard: Vec<_> = calls.iter().map(|call| lower(&call.take_heard(), call.factor())).collect();
        for call in calls {
            call.hang_up();
            call.ended().await;
        }
        heard
    });
    let (mut table, mut bad) = (String::from("| codec | points of 100 | distance |\n|---|---|---|\n"), String::new());
    for ((codec, kept), heard) in KEPT.iter().zip(&heard) {
        let score = score(&spoken, heard, 8_000);
        let _ = writeln!(table, "| {codec:?} | {:.0} | {:.1} dB |", score.points, score.distance_db);
        if score.points < *kept {
            let _ = writeln!(bad, "{codec:?}: {score:?}, at least {kept} wanted");
        }
    }
    println!("{table}");
    assert!(bad.is_empty(), "\n{table}\n{bad}");
}
