//! One call with one peer, as the endpoint keeps it.

use super::transactions::{Identity, TransactionId};
use crate::sip::config::{DialogPolicy, OutgoingInvite, Target};
use crate::sip::dialog::{Dialog, Path};
use crate::sip::event::{LegId, Peer};
use crate::sip::header::HeaderName;
use crate::sip::refer::Transfer;
use crate::sip::reliable::{Receiver, Sender};
use crate::sip::session_timer::{Asked, Session};
use crate::sip::timer::{Doubling, MAX_TIMERS, TimerName, TimerTable};
use crate::sip::{Message, Method, Request};
use std::collections::VecDeque;
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

/// How long a target may stay silent before the next one is tried (RFC 3263 §4.3 leaves the time to us): four tries of
/// the INVITE by UDP, and well below what a person waits for a ring.
pub(super) const FAILOVER: Duration = Duration::from_secs(4);
/// How long the subscription of an accepted REFER lasts: as long as a call may ring.
pub(super) const REFER_SUBSCRIPTION: Duration = Duration::from_secs(180);
/// Early dialogs of one call. Answers a forking proxy that makes them without end; what is one too many is not heard.
pub(super) const MAX_EARLY_DIALOGS: usize = 8;

/// What a request of a leg is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// An INVITE to a target that stayed silent: whatever comes of it is cancelled or hung up.
    Abandoned,
    /// BYE.
    Bye,
    /// INFO.
    Info,
    /// The INVITE that makes the call, ours or the peer's.
    Invite,
    /// NOTIFY about a REFER that we accepted.
    Notify,
    /// PRACK.
    Prack,
    /// REFER.
    Refer,
    /// A re-INVITE, ours or the peer's.
    Reoffer,
    /// An UPDATE, ours or the peer's, with or without offer.
    Update,
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
    /// A silent target is given up for the next.
    Failover,
    /// A reliable provisional response of ours is sent again.
    ResendProvisional,
    /// Its PRACK is not waited for any longer.
    GiveUpProvisional,
    /// The subscription of the peer's REFER ends.
    Subscription,
    /// The final NOTIFY of our REFER is not waited for any longer.
    Transfer,
    /// The final response to a re-INVITE of ours is not waited for any longer.
    ReofferGiveUp,
    /// Final responses after a CANCEL or the end are not waited for any longer (RFC 3261 §9.1).
    LastResponses,
}

const _: () = assert!(LegTimer::ALL.len() <= MAX_TIMERS, "a timer without a slot would never fire");

impl TimerName for LegTimer {
    const ALL: &'static [Self] = &[
        Self::Ring,
        Self::Resend2xx,
        Self::GiveUp2xx,
        Self::ReofferAnswer,
        Self::Glare,
        Self::ReferAnswer,
        Self::Failover,
        Self::ResendProvisional,
        Self::GiveUpProvisional,
        Self::Subscription,
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
        carrier: Carrier,
        /// It repeats what holds, to keep the session alive: the application did not ask for it.
        is_refresh: bool,
        /// How often it met a glare.
        glares: u8,
        /// The request; `None` while backing off.
        transaction: Option<TransactionId>,
    },
    /// The peer's, or its request for ours: to be answered by the application.
    Theirs {
        transaction: TransactionId,
        /// re-INVITE, not UPDATE or PRACK: its 2xx is acknowledged.
        is_invite: bool,
        /// The offer, if it is not us who are to make it.
        sdp: Option<Vec<u8>>,
    },
}

/// The request that carries an offer of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carrier {
    Invite,
    Update,
}

/// An UPDATE of ours without offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct BareUpdate {
    pub(super) transaction: TransactionId,
    /// The session timer asked for it, not the application.
    pub(super) is_refresh: bool,
}

/// An early dialog of a call of ours (RFC 3261 §12.1.2): one for each phone that a proxy rings.
#[derive(Debug)]
pub(super) struct Early {
    /// Its `remote_tag` is its name.
    pub(super) dialog: Dialog,
    pub(super) received: Receiver,
    /// The peer's latest session description.
    pub(super) sdp: Option<Vec<u8>>,
    /// The answer to our offer came reliably: UPDATE may offer again (RFC 3311 §5.1).
    pub(super) is_answered: bool,
    /// An UPDATE has changed the session: what a 2xx repeats is out of date.
    pub(super) is_updated: bool,
}

/// How a call of ours is tried.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) call: OutgoingInvite,
    /// The targets that are left.
    pub(super) targets: VecDeque<Target>,
    /// A provisional response above 100 came: nobody else is tried.
    pub(super) has_progressed: bool,
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
    Accepted {
        /// The end of the subscription.
        until: Instant,
        /// The status of the last NOTIFY.
        last: u16,
    },
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
    /// Our call, while undecided.
    pub(super) attempt: Option<Box<Attempt>>,
    /// Early dialogs of our call, in the order of their appearance.
    pub(super) early: Vec<Early>,
    /// The peer's INVITE had an offer.
    pub(super) has_offer: bool,
    /// Reliable provisional responses to the peer's INVITE, if it is to get any.
    pub(super) provisional: Option<Sender>,
    /// The answer to the peer's INVITE, while something must be settled before it may go out.
    pub(super) pending_answer: Option<Vec<u8>>,
    /// The session was changed before the call was taken.
    pub(super) was_changed_early: bool,
    pub(super) offer: Offer,
    /// The early dialog in which that offer is, by its remote tag.
    pub(super) offer_fork: Option<Box<str>>,
    /// An offer of the application's that waits for the end of a refresh.
    pub(super) queued_offer: Option<(Vec<u8>, Carrier)>,
    pub(super) bare_update: Option<BareUpdate>,
    /// The session description of ours that holds.
    pub(super) local_sdp: Vec<u8>,
    /// The peer's.
    pub(super) remote_sdp: Vec<u8>,
    pub(super) session: Session,
    /// What the request that waits for our 2xx says about session timers.
    pub(super) asked: Asked,
    /// The peer's Allow names UPDATE.
    pub(super) allows_update: bool,
    pub(super) final_2xx: Option<Final2xx>,
    /// The BYE that waits for the ACK of our 2xx (RFC 3261 §15).
    pub(super) bye_when_acked: Option<Request>,
    pub(super) transfer: Option<Transfer>,
    /// We sent a REFER at some time: late reports about it are welcome.
    pub(super) has_referred: bool,
    pub(super) inbound_refer: Option<InboundRefer>,
    /// Requests of ours without final response.
    pub(super) open: Vec<TransactionId>,
    pub(super) timers: TimerTable<LegTimer>,
    pub(super) wake: Option<Instant>,
    /// What [`super::transactions::Trust`] counts for this leg.
    pub(super) trusted: Vec<IpAddr>,
}

impl Leg {
    pub(super) fn new(id: LegId, phase: Phase, dialog: Dialog, home: SocketAddr, policy: DialogPolicy) -> Self {
        Self {
            id,
            phase,
            invite_cseq: dialog.local_cseq,
            dialog,
            home,
            peer: None,
            policy,
            identity: None,
            invite: None,
            is_cancellable: false,
            cancel_wanted: false,
            attempt: None,
            early: Vec::new(),
            has_offer: false,
            provisional: None,
            pending_answer: None,
            was_changed_early: false,
            offer: Offer::None,
            offer_fork: None,
            queued_offer: None,
            bare_update: None,
            local_sdp: Vec::new(),
            remote_sdp: Vec::new(),
            session: Session::new(policy.session_timer),
            asked: Asked::default(),
            allows_update: false,
            final_2xx: None,
            bye_when_acked: None,
            transfer: None,
            has_referred: false,
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

    /// Whether offer and answer of the peer's undecided INVITE are done, so that UPDATE may offer again.
    pub(super) fn is_settled_early(&self) -> bool {
        self.provisional.as_ref().is_some_and(Sender::has_acknowledged_sdp)
    }

    /// The early dialog with this remote tag.
    pub(super) fn early_with(&mut self, tag: &str) -> Option<&mut Early> {
        self.early.iter_mut().find(|early| *early.dialog.remote_tag == *tag)
    }

    /// The dialog that a request of the peer names: an early one of our call, or the leg's own.
    pub(super) fn dialog_of(&mut self, request: &Message<'_>) -> &mut Dialog {
        match self.early.iter_mut().find(|early| early.dialog.matches_request(request)) {
            Some(early) => &mut early.dialog,
            None => &mut self.dialog,
        }
    }

    /// The dialog in which an offer or UPDATE of ours or the peer's goes on.
    pub(super) fn offer_dialog(&mut self) -> &mut Dialog {
        let fork = self.offer_fork.as_deref();
        match self.early.iter_mut().find(|early| fork == Some(&*early.dialog.remote_tag)) {
            Some(early) => &mut early.dialog,
            None => &mut self.dialog,
        }
    }

    /// A request within the dialog with this remote tag, early or not, and the way it takes. All dialogs of a leg draw
    /// from one sequence of numbers: gaps are no error (RFC 3261 §12.2.2).
    pub(super) fn request_in(&mut self, fork: Option<&str>, method: Method) -> (Request, Path) {
        let number = self.dialog.local_cseq;
        let early = self.early.iter_mut().find(|early| fork == Some(&*early.dialog.remote_tag));
        let dialog = match early {
            Some(early) => &mut early.dialog,
            None => &mut self.dialog,
        };
        dialog.local_cseq = number;
        let (request, path) = (dialog.request(method), dialog.path);
        self.dialog.local_cseq = number.saturating_add(1);
        (request, path)
    }

    /// Remembers what the peer serves, as far as it says so.
    pub(super) fn note_allow(&mut self, message: &Message<'_>) {
        if message.value(HeaderName::Allow).is_some() {
            self.allows_update = message.has_token(HeaderName::Allow, "UPDATE");
        }
    }

    /// Whether the dialog stands, for the application as for the peer.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Answered | Phase::Confirmed)
    }
}
