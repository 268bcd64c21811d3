//! One call with one peer, as the endpoint keeps it.

use super::transactions::{Identity, TransactionId};
use crate::sip::Request;
use crate::sip::config::DialogPolicy;
use crate::sip::dialog::{Dialog, Path};
use crate::sip::event::{LegId, Peer};
use crate::sip::refer::Transfer;
use crate::sip::timer::{Doubling, TimerName, TimerTable};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long the application may think about a re-offer before the peer gets 500: below the peer's 64·T1.
pub(super) const REOFFER_ANSWER: Duration = Duration::from_secs(10);
/// How long the application may think about a REFER before the peer gets 603.
pub(super) const REFER_ANSWER: Duration = Duration::from_secs(5);
/// How long a peer may keep a re-offer of ours undecided: no person is asked, so 64·T1 is plenty.
pub(super) const REOFFER_GIVE_UP: Duration = Duration::from_secs(32);
/// How often a re-offer is tried again after 491 before its failure is reported.
pub(super) const GLARE_ATTEMPTS: u8 = 5;

/// What a request of a leg is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// BYE.
    Bye,
    /// INFO.
    Info,
    /// The INVITE that makes the call, ours or the peer's.
    Invite,
    /// NOTIFY about a REFER that we accepted.
    Notify,
    /// REFER.
    Refer,
    /// A re-INVITE, ours or the peer's.
    Reoffer,
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Our INVITE is undecided.
    Calling,
    /// The peer's INVITE is undecided.
    Ringing,
    /// Our 2xx waits for its ACK.
    Answered,
    /// Both sides agree that the call is up.
    Confirmed,
    /// `Ended` was reported; what is left is protocol.
    Over,
}

/// The timers of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LegTimer {
    /// An undecided call is given up.
    Ring,
    /// Our 2xx is sent again.
    Resend2xx,
    /// The ACK of our 2xx is not waited for any longer.
    GiveUp2xx,
    /// The application was too slow with an answer to a re-offer.
    ReofferAnswer,
    /// The back-off after a glare is over.
    Glare,
    /// The application was too slow with an answer to a REFER.
    ReferAnswer,
    /// The final NOTIFY of our REFER is not waited for any longer.
    Transfer,
    /// The final response to a re-INVITE of ours is not waited for any longer.
    ReofferGiveUp,
    /// Final responses after a CANCEL or the end are not waited for any longer (RFC 3261 §9.1).
    LastResponses,
}

impl TimerName for LegTimer {
    const ALL: &'static [Self] = &[
        Self::Ring,
        Self::Resend2xx,
        Self::GiveUp2xx,
        Self::ReofferAnswer,
        Self::Glare,
        Self::ReferAnswer,
        Self::Transfer,
        Self::ReofferGiveUp,
        Self::LastResponses,
    ];

    fn slot(self) -> usize {
        self as usize
    }
}

/// Whose offer is in the air (RFC 3264 allows one at a time).
#[derive(Debug)]
pub(super) enum Offer {
    /// Nobody's.
    None,
    /// Ours.
    Ours {
        sdp: Vec<u8>,
        /// How often it met a glare.
        glares: u8,
        /// The re-INVITE; `None` while backing off.
        transaction: Option<TransactionId>,
    },
    /// The peer's, or its request for ours: to be answered by the application.
    Theirs {
        transaction: TransactionId,
        /// re-INVITE, not UPDATE: its 2xx is acknowledged.
        is_invite: bool,
        has_offer: bool,
    },
}

/// A 2xx of ours that is sent again until its ACK comes (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub(super) struct Final2xx {
    /// CSeq number of the INVITE and of its ACK.
    pub(super) cseq: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) path: Path,
    pub(super) resend: Doubling,
    /// The 2xx held our offer, so the ACK holds the answer.
    pub(super) answer_in_ack: bool,
}

/// A REFER of the peer.
#[derive(Debug)]
pub(super) enum InboundRefer {
    /// The application has not decided.
    Pending(TransactionId),
    /// Accepted: NOTIFYs go out.
    Accepted,
}

/// One call with one peer.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) phase: Phase,
    pub(super) dialog: Dialog,
    /// Where the peer was first reached or heard.
    pub(super) home: SocketAddr,
    pub(super) peer: Option<Peer>,
    pub(super) policy: DialogPolicy,
    pub(super) identity: Option<Identity>,
    /// The transaction of the INVITE that makes the call.
    pub(super) invite: Option<TransactionId>,
    /// CSeq number of the INVITE that makes the call.
    pub(super) invite_cseq: u32,
    /// A provisional response to our INVITE came: it may be cancelled.
    pub(super) is_cancellable: bool,
    /// CANCEL is to be sent as soon as it may.
    pub(super) cancel_wanted: bool,
    /// Session description of an early response, with its To tag.
    pub(super) early_sdp: Option<(Box<str>, Vec<u8>)>,
    /// The peer's INVITE had an offer.
    pub(super) has_offer: bool,
    pub(super) offer: Offer,
    pub(super) final_2xx: Option<Final2xx>,
    /// The BYE that waits for the ACK of our 2xx (RFC 3261 §15).
    pub(super) bye_when_acked: Option<Request>,
    pub(super) transfer: Option<Transfer>,
    pub(super) inbound_refer: Option<InboundRefer>,
    /// Requests of ours without final response.
    pub(super) open: Vec<TransactionId>,
    pub(super) timers: TimerTable<LegTimer>,
    pub(super) wake: Option<Instant>,
    /// What [`super::transactions::Trust`] counts for this leg.
    pub(super) trusted: Vec<IpAddr>,
}

impl Leg {
    pub(super) fn new(id: LegId, phase: Phase, dialog: Dialog, home: SocketAddr) -> Self {
        Self {
            id,
            phase,
            invite_cseq: dialog.local_cseq,
            dialog,
            home,
            peer: None,
            policy: DialogPolicy::default(),
            identity: None,
            invite: None,
            is_cancellable: false,
            cancel_wanted: false,
            early_sdp: None,
            has_offer: false,
            offer: Offer::None,
            final_2xx: None,
            bye_when_acked: None,
            transfer: None,
            inbound_refer: None,
            open: Vec::new(),
            timers: TimerTable::default(),
            wake: None,
            trusted: vec![home.ip()],
        }
    }

    /// Whether nothing of the protocol is left to do either.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Over && self.open.is_empty() && self.final_2xx.is_none()
    }

    /// Whether the dialog stands, for the application as for the peer.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Answered | Phase::Confirmed)
    }
}
