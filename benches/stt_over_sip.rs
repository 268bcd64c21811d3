//! Word error rate through real calls: SIP and RTP on loopback, jitter buffer, voice activity, turn-taking, Moonshine.
//!
//! `cargo bench --bench stt_over_sip` after `make models` and `tests/interop/fetch-prompts.sh`; an argument sets the
//! number of prompts (default 60). Clips are played in real time, three calls at once.

#[path = "../tests/common/mod.rs"]
mod common;

use common::speech::{Clip, WordErrors, human_clips, models, prompts, word_errors};
use offhook::base::{Random, SampleRate, TurnId};
use offhook::call::Line;
use offhook::media::{LegMode, MediaConfig, Workers};
use offhook::net::{self, Arrival, Inbox, Sip};
use offhook::providers::local::LocalEngines;
use offhook::providers::local::pool::PoolConfig;
use offhook::providers::{SttEvent, SttRequest, VoiceStream};
use offhook::sdp::Codec;
use offhook::sip::event::Party;
use offhook::sip::{EndpointConfig, KnownPeer, OutgoingInvite, Uri};
use offhook::turn::{TurnInput, TurnOutput, TurnSettings, TurnTaker};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const CALLS: usize = 3;
/// Silence after each clip: longer than the longest wait for the end of a turn, transcript included.
const AFTER_CLIP_MS: usize = 2_000;

fn main() {
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(60);
    let engines = LocalEngines::load(&models(), PoolConfig::default(), |_| ()).expect("the engines load");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{:<28}{:>6}{:>9}{:>7}{:>8}", "set, through a SIP call", "clips", "seconds", "words", "WER %");
    for (name, clips) in [("LibriVox and Kennedy", human_clips()), ("Asterisk prompts", prompts(count))] {
        let (number, seconds) = (clips.len(), clips.iter().map(Clip::seconds).sum::<f64>());
        let errors = runtime.block_on(play(clips, &engines));
        println!("{name:<28}{number:>6}{seconds:>9.1}{:>7}{:>8.1}", errors.words, errors.percent());
    }
}

async fn play(clips: Vec<Clip>, engines: &LocalEngines) -> WordErrors {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let media = MediaConfig { bind_ip: loopback, workers: 1, ..MediaConfig::default() };
    let workers = Arc::new(Workers::start(media, Random::system()).expect("media starts"));
    let any = SocketAddr::new(loopback, 0);
    let (callee, mut inbox) = net::start_udp(any, Random::system(), |socket| EndpointConfig {
        known_peers: vec![KnownPeer::by_source("bench", vec![loopback.into()])],
        ..EndpointConfig::udp(socket, socket)
    })
    .expect("the callee listens");
    let (caller, _caller_inbox) = net::start_udp(any, Random::system(), |socket| EndpointConfig::udp(socket, socket))
        .expect("the caller listens");
    let mut shares: Vec<Vec<Clip>> = (0..CALLS).map(|_| Vec::new()).collect();
    for (index, clip) in clips.into_iter().enumerate() {
        shares[index % CALLS].push(clip);
    }
    let mut calls = tokio::task::JoinSet::new();
    for share in shares {
        let (line, heard) = connect(&caller, &callee, &mut inbox, &workers, engines).await;
        calls.spawn(speak(line, share, heard));
    }
    let mut errors = WordErrors::default();
    while let Some(share) = calls.join_next().await {
        errors += share.expect("the call lasts");
    }
    errors
}

async fn connect(
    caller: &Sip,
    callee: &Sip,
    inbox: &mut Inbox,
    workers: &Arc<Workers>,
    engines: &LocalEngines,
) -> (Line, mpsc::UnboundedReceiver<String>) {
    let (target, own) = (callee.local_addr(), caller.local_addr());
    let mut random = Random::system();
    let dial = Line::dial(caller, own.ip(), workers, &Codec::G711, LegMode::Agent, &mut random, |offer| {
        let from = Party { display: None, uri: Uri::sip_address(own).with_user("clip") };
        OutgoingInvite::new(Uri::sip_address(target).with_user("ear"), target, from, offer)
    });
    let mut random = Random::system();
    let answer = async {
        let Some(Arrival::Call(call, events)) = inbox.recv().await else { panic!("no call came") };
        Line::answer(callee, &call, events, workers, &Codec::G711, LegMode::Agent, &mut random).await
    };
    let (dialled, answered) = tokio::join!(dial, answer);
    let (sender, heard) = mpsc::unbounded_channel();
    tokio::spawn(listen(answered.expect("the call is answered"), engines.clone(), sender));
    (dialled.expect("the call is up"), heard)
}

/// Plays each clip, then silence, and compares what was heard meanwhile.
async fn speak(mut line: Line, clips: Vec<Clip>, mut heard: mpsc::UnboundedReceiver<String>) -> WordErrors {
    let mut errors = WordErrors::default();
    for (index, clip) in clips.iter().enumerate() {
        let turn = TurnId(index as u32 + 1);
        let mut samples = clip.samples.clone();
        samples.resize(samples.len() + AFTER_CLIP_MS * 8, 0);
        let mut pushed = 0;
        while (line.media.downlink.played(turn) as usize) < samples.len() {
            pushed += line.media.downlink.push(turn, &samples[pushed..]);
            if pushed == samples.len() {
                line.media.downlink.end_of_turn(turn);
            }
            assert!(line.next().await.is_none(), "the call goes on");
            while line.media.uplink.try_pop().is_some() {}
            while line.media.events.try_pop().is_some() {}
        }
        let mut text = String::new();
        while let Ok(words) = heard.try_recv() {
            text.push_str(&words);
            text.push(' ');
        }
        errors += word_errors(&clip.words, &text);
    }
    line.hang_up();
    errors
}

/// The callee's ear: what a call's session does between the media leg and the conversation.
async fn listen(mut line: Line, engines: LocalEngines, heard: mpsc::UnboundedSender<String>) {
    let settings = TurnSettings::default();
    let request = SttRequest::new(SampleRate::NARROWBAND, settings.pre_roll);
    let (mut stt, mut transcripts) = engines.stt().expect("it is loaded").open(request).expect("a stream opens");
    let mut voice = engines.voice().open();
    let mut turn = TurnTaker::new(settings);
    loop {
        let deadline = turn.poll_timeout().unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        tokio::select! {
            event = line.next() => {
                if event.is_some() {
                    return;
                }
                while line.media.events.try_pop().is_some() {}
                while let Some(frame) = line.media.uplink.try_pop() {
                    stt.push(frame.samples.samples());
                    turn.handle(frame.arrived, TurnInput::Frame { voiced: frame.voiced });
                    if let Some(verdict) = voice.push(frame.samples.samples(), turn.wants_probability(frame.arrived)) {
                        let through = frame.arrived - Duration::from_millis(20);
                        turn.handle(frame.arrived, TurnInput::Probability { through, probability: verdict.probability });
                    }
                }
            }
            Some(event) = transcripts.recv() => if let SttEvent::Final { segment, text, confidence, .. } = event {
                turn.handle(Instant::now(), TurnInput::Transcript { segment, text, confidence });
            },
            () = tokio::time::sleep_until(deadline.into()) => turn.handle_timeout(Instant::now()),
        }
        while let Some(output) = turn.poll_output() {
            match output {
                TurnOutput::StartSegment(segment) => stt.start(segment),
                TurnOutput::FinishSegment(segment) => stt.finish(segment),
                TurnOutput::DiscardSegment => stt.discard(),
                TurnOutput::Turn { text, .. } => drop(heard.send(text.into_exposed())),
                _ => {}
            }
        }
    }
}
