//! Our own user agent, in this process, against Asterisk's echo: what we say is what we hear.

use std::{net::SocketAddr, time::Duration};

use crate::common::speech::human_clips;
use crate::support::{Asterisk, Bench, compare};
use offhook::{
    base::{Random, TurnId},
    call::Line,
    media::{LegMode, MediaConfig, Workers},
    net,
    sdp::Codec,
    sip::{EndpointConfig, OutgoingInvite, Uri, event::Party},
};
use tokio::time::{Instant, timeout_at};

#[test]
fn at_least_98_percent_of_the_voiced_audio_comes_back_from_the_pbxs_echo() {
    let bench = Bench::open_beside_others();
    let asterisk = Asterisk::start(&bench, 3600);
    let spoken: Vec<i16> = human_clips().into_iter().flat_map(|clip| clip.samples).take(20 * 8_000).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let heard = runtime.block_on(call_echo(&bench, &asterisk, &spoken));
    let found = compare(&spoken, &heard);
    assert!(found.voiced > 100 && found.share() >= 0.98, "{found:?}");
}

/// Calls 600 over the trunk, says `spoken` and gives what is heard until two seconds after its end.
async fn call_echo(bench: &Bench, asterisk: &Asterisk, spoken: &[i16]) -> Vec<i16> {
    const TURN: TurnId = TurnId(1);
    let ip = bench.address(20).into();
    let remote: SocketAddr = asterisk.address().parse().expect("an address");
    let (sip, _inbox) =
        net::start_udp(SocketAddr::new(ip, 5060), Random::system(), |socket| EndpointConfig::udp(socket, socket))
            .expect("the socket opens");
    let media = MediaConfig { bind_ip: ip, ..MediaConfig::default() };
    let workers = Workers::start(media, Random::system()).expect("the workers start");
    let own = Uri::sip_address(sip.local_addr()).with_user("echo-test");
    let mut line = Line::dial(&sip, ip, &workers, &Codec::G711, LegMode::Agent, &mut Random::system(), |offer| {
        let from = Party { display: None, uri: own };
        OutgoingInvite::new(Uri::sip_address(remote).with_user("600"), remote, from, offer)
    })
    .await
    .expect("the echo answers");

    let mut heard = Vec::new();
    let mut left = spoken;
    let end = Instant::now() + Duration::from_millis(spoken.len() as u64 / 8 + 2_000);
    while let Ok(event) = timeout_at(end, line.next()).await {
        assert_eq!(event, None, "nothing but audio");
        while line.media.events.try_pop().is_some() {}
        while let Some(frame) = line.media.uplink.try_pop() {
            heard.extend_from_slice(frame.samples.samples());
        }
        let taken = line.media.downlink.push(TURN, left);
        left = &left[taken..];
    }
    assert!(left.is_empty(), "all of it was said");
    line.hang_up();
    while line.next().await.is_none() {
        while line.media.events.try_pop().is_some() {}
        while line.media.uplink.try_pop().is_some() {}
    }
    heard
}
