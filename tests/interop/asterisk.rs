//! We are an extension of a real Asterisk: registered, called, calling, transferring.

use std::time::Duration;

use crate::common::speech::{human_clips, models};
use crate::phones::{Line, call_once};
use crate::support::{Asterisk, Bench, PATIENCE, Server, agent_file, compare, offhook, run, wait_until};
use offhook::{
    base::SampleRate,
    providers::{
        SttEvent, SttRequest,
        local::{LocalEngines, pool::PoolConfig},
        stt::SegmentId,
    },
};

/// Extension 1001 of the bench's Asterisk, served by `agent`.
fn extension(asterisk: &Asterisk, agent: &str) -> String {
    format!(
        "[agents]\n{agent} = {}\n\n[[extension]]\nname = \"front\"\nregistrar = \"{}\"\nuser = \"1001\"\n\
         password = \"secret1001\"\nagent = \"{agent}\"\nprofile = \"freepbx\"\n",
        agent_file(agent),
        asterisk.address()
    )
}

/// What Moonshine hears in a recording, in lower case.
fn transcribe(samples: &[i16]) -> String {
    let engines = LocalEngines::load(&models(), PoolConfig::default(), |_| ()).expect("the engines load");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let words = runtime.block_on(async {
        let request = SttRequest::new(SampleRate::NARROWBAND, Duration::ZERO);
        let (mut stream, mut events) = engines.stt().expect("it is loaded").open(request).expect("a stream opens");
        let segment = SegmentId(1);
        stream.start(segment);
        for chunk in samples.chunks(160) {
            stream.push(chunk);
        }
        stream.finish(segment);
        loop {
            match events.recv().await.expect("an answer comes") {
                SttEvent::Final { text, .. } => break text.expose().clone(),
                SttEvent::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    });
    words.to_lowercase()
}

/// Human speech that travels with the source.
fn human(name: &str) -> Vec<i16> {
    human_clips().into_iter().find(|clip| clip.name == name).expect("the clip is there").samples
}

/// The peer of these cases, all by UDP.
fn case(feature: &'static str) -> crate::table::Case {
    crate::table::Case::begin("asterisk", feature, "UDP")
}

#[test]
fn we_are_registered_and_again_by_ourselves_after_the_pbx_lost_power() {
    let _case = case("PBX restarts, extension heals");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 20);
    let mut server = Server::start(&bench, &extension(&asterisk, "library"));
    wait_until(PATIENCE, "the PBX shows 1001", || asterisk.has_contact("1001"));
    assert_eq!(server.wait_for("registration", PATIENCE)["extension"], "front");

    // Added, which one that it knew would not be; we may come before it can be asked whether it forgot.
    let added = || asterisk.log().matches("Added contact").count();
    wait_until(PATIENCE, "it is in the log", || added() == 1);
    asterisk.power_cycle();
    wait_until(Duration::from_secs(40), "the PBX has 1001 again", || added() == 2 && asterisk.has_contact("1001"));

    // And we leave as we came.
    assert_eq!(server.stop(), Some(0));
    assert!(!asterisk.has_contact("1001"), "unregistered at the end");
}

#[test]
fn the_agent_answers_human_speech_played_by_the_pbx() {
    let _case = case("an agent answers human speech");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 3600);
    let server = Server::start(&bench, &extension(&asterisk, "library"));
    wait_until(PATIENCE, "registered", || asterisk.has_contact("1001"));

    asterisk.set_played(&human("jfk-ask-not"));
    asterisk.set_global("PLAY_AFTER", "6");
    asterisk.set_global("LISTEN", "9");
    asterisk.cli("channel originate PJSIP/1001 extension play@interop");
    server.wait_for("call_ended", Duration::from_secs(60));

    let heard = transcribe(&asterisk.recording("play-in.wav"));
    for word in ["morning", "library", "president", "kennedy"] {
        assert!(heard.contains(word), "{word} in {heard:?}");
    }
}

#[test]
fn a_call_that_we_place_says_its_message_into_the_pbxs_recording() {
    let _case = case("an agent calls and says its message");
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 3600);
    let ip = bench.address(20);
    let config = bench.write(
        "offhook.toml",
        &format!(
            "[server]\nsip_listen = \"{ip}:5060\"\n\n[media]\nbind = \"{ip}\"\n\n{}",
            extension(&asterisk, "herald")
        ),
    );
    run(offhook().args(["call", "626", "--seconds", "40", "-c"]).arg(config));
    let heard = transcribe(&asterisk.recording("626-in.wav"));
    for word in ["appointment", "tuesday", "afternoon", "insurance"] {
        assert!(heard.contains(word), "{word} in {heard:?}");
    }
    assert!(!asterisk.has_contact("1001"), "unregistered at the end");
}

#[test]
fn a_call_that_we_transfer_arrives_at_its_target() {
    let _case = case("an agent transfers by REFER");
    transfer("");
}

#[test]
fn a_call_that_we_join_with_its_target_in_our_own_media_arrives_there() {
    let _case = case("an agent transfers by bridging two calls");
    transfer("overrides = { transfer = \"bridge\" }\n");
}

/// A telephone, 1002, rings 1001, hears it out and talks to the target of the transfer.
fn transfer(ways: &str) {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 3600);
    let server = Server::start(&bench, &(extension(&asterisk, "switchboard") + ways));
    wait_until(PATIENCE, "registered", || asterisk.has_contact("1001"));

    let speech = human("austen-0870");
    let silence = vec![0; 9 * crate::support::RATE as usize];
    let talk: Vec<i16> = [&silence, &speech, &speech, &silence, &silence].into_iter().flatten().copied().collect();
    let phone = Line::extension(bench.address(30), "1002", &asterisk.address());
    let uri = format!("sip:1001@{}", asterisk.address());
    call_once("baresip", &bench.path().join("baresip"), &phone, &talk, &uri, 24);

    assert_eq!(server.wait_for("transfer_finished", PATIENCE)["accepted"], true);
    let arrived = if ways.is_empty() { "1002" } else { "1001" };
    wait_until(PATIENCE, "it arrives", || asterisk.database("arrived").is_some());
    assert_eq!(asterisk.database("arrived").as_deref(), Some(arrived));
    let recorded = asterisk.recording("604.wav");
    let found = compare(&recorded, &talk);
    assert!(found.share() >= 0.9 && found.voiced >= 30, "{found:?}");
    server.wait_for("call_ended", PATIENCE);
}
