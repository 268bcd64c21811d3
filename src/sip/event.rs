//! What the endpoint tells its owner: calls, their changes and ends, transfers, registrations.
//!
//! Everything in an event that came from the network is a claim of the peer. The only fact about the
//! other side is [`Peer`], which comes from addresses and registrations, never from a header.

use crate::base::Pii;
use crate::sip::{Transport, Uri};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One INVITE usage with one peer: from the INVITE, either way, to the BYE. Unique within an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LegId(pub u64);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg-{:06}", self.0)
    }
}

/// One registration that the endpoint keeps alive. Unique within an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RegistrationId(pub u64);

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registration-{}", self.0)
    }
}

/// One OPTIONS request of ours. Unique within an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProbeId(pub u64);

/// Whom a request is attributed to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Peer {
    /// It came for one of our registrations: its Request-URI carries that registration's contact user.
    Registration(RegistrationId),
    /// Its source address lies in the networks of the known peer of this name.
    Known(String),
}

/// Something that happened. Take events with [`super::Endpoint::poll_event`] until there is none.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call for us. Answer with `ring`, `progress`, `answer` or `reject`; 100 Trying has been sent.
    IncomingCall(Box<IncomingCall>),
    /// A provisional response above 100 to our INVITE: 180 rings, 183 usually carries early media.
    Progress {
        /// Our leg.
        leg: LegId,
        /// 101–199.
        code: u16,
        /// The peer's session description, if this response had one.
        sdp: Option<Vec<u8>>,
        /// Which phone it comes from when a proxy rings several: 0 for the first that was heard, and so on. Their early
        /// media differ; play one fork's only.
        fork: u8,
    },
    /// The peer took our call; the ACK has been sent. Comes once per leg.
    Answered {
        /// Our leg.
        leg: LegId,
        /// The answer to our offer; `None` when the peer sent none, which is the peer's mistake.
        sdp: Option<Vec<u8>>,
        /// Header fields of the 2xx.
        headers: Vec<Header>,
    },
    /// The ACK for our 2xx came: both sides agree that the call is up. Comes once per leg.
    Established {
        /// Our leg.
        leg: LegId,
        /// The peer's answer, when the INVITE had no offer and our 2xx made one.
        sdp: Option<Vec<u8>>,
    },
    /// The leg is over. The last event of this leg, and exactly one.
    Ended {
        /// Our leg.
        leg: LegId,
        /// Why.
        cause: EndCause,
        /// The Reason header of the peer (RFC 3326), if it gave one: `Q.850;cause=16`.
        reason: Option<String>,
    },
    /// The peer wants to change the session (re-INVITE, UPDATE, or PRACK with an offer). Comes before the call is taken,
    /// too, once the first offer was answered reliably (RFC 3311 §5.2). Must be answered with `answer_reoffer`
    /// or `reject_reoffer` within 10 s; otherwise the endpoint refuses with 500.
    Reoffer {
        /// Our leg.
        leg: LegId,
        /// The peer's offer; `None` asks us to make the offer (its answer comes as [`Event::ReofferAnswered`]).
        sdp: Option<Vec<u8>>,
    },
    /// The outcome of our re-offer or update, or the peer's answer to the offer it asked us for. Comes unasked when the
    /// peer changed its side in answer to a refresh of the session.
    ReofferAnswered {
        /// Our leg.
        leg: LegId,
        /// The peer's answer, or the final status that refused our offer; the session is unchanged then.
        outcome: Result<Option<Vec<u8>>, u16>,
    },
    /// The peer asks us to call someone else (REFER). Only from peers with `accept_refer`; answer with
    /// `accept_refer` or `reject_refer`.
    TransferRequested {
        /// Our leg.
        leg: LegId,
        /// Refer-To without its embedded headers.
        target: Pii<Uri>,
        /// Referred-By, a claim.
        referred_by: Option<Pii<String>>,
        /// The decoded Replaces of an attended transfer (RFC 3891).
        replaces: Option<Pii<String>>,
    },
    /// The peer is working on the transfer that we asked for.
    TransferProgress {
        /// Our leg.
        leg: LegId,
        /// The peer's latest status towards the target: 100 trying, 180 ringing.
        code: u16,
    },
    /// The transfer that we asked for is decided. Comes once per `refer`.
    TransferFinished {
        /// Our leg. After [`TransferOutcome::Accepted`] the endpoint ends it with BYE by itself.
        leg: LegId,
        /// What became of it.
        outcome: TransferOutcome,
    },
    /// A SIP INFO request with DTMF within the call, already answered with 200; other kinds get 415.
    Info {
        /// Our leg.
        leg: LegId,
        /// Content-Type as sent, lower case, without parameters: `application/dtmf-relay`.
        content_type: String,
        /// The body.
        body: Pii<Vec<u8>>,
    },
    /// Our OPTIONS was answered, or will not be. Comes once per [`super::Endpoint::options`].
    ProbeFinished {
        /// Which.
        probe: ProbeId,
        /// The final status, whatever it is, with the header fields of the response; `None` when none came within
        /// 64·T1 or the transport failed.
        answer: Option<(u16, Vec<Header>)>,
    },
    /// A registration changed its state.
    RegistrationChanged {
        /// Which.
        registration: RegistrationId,
        /// The state it is in.
        state: RegistrationState,
    },
}

/// One header field by name and value, in the order of the message. Values are the peer's claims.
pub type Header = (String, Pii<String>);

/// A call that came in. Every text in it is a claim of the peer.
#[derive(Clone, Debug)]
pub struct IncomingCall {
    /// The leg to command from here on.
    pub leg: LegId,
    /// Whom the call is attributed to.
    pub peer: Peer,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// Our advertised address towards this peer; SDP should name the same host.
    pub local: SocketAddr,
    /// Call-ID.
    pub call_id: Pii<String>,
    /// From: the number and name that the caller's side claims.
    pub from: Pii<Party>,
    /// To: whom the caller dialled, as its side wrote it.
    pub to: Pii<Party>,
    /// Whom the request is for after all routing before us.
    pub request_uri: Pii<Uri>,
    /// All header fields that belong to the call and not to its transport.
    pub headers: Vec<Header>,
    /// The leg of ours that this call wants to take over (RFC 3891): answer this one and hang the other up. Only from
    /// peers whose policy allows it, and only a leg of the same peer that is up, or that we are calling.
    pub replaces: Option<LegId>,
    /// The transport it came by.
    pub transport: Transport,
    /// The offer; `None` asks us for one in the 2xx (RFC 3261 §13.2.1).
    pub sdp: Option<Vec<u8>>,
}

/// A display name with a URI.
#[derive(Clone, PartialEq, Debug)]
pub struct Party {
    /// The display name without its quotes.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
}

/// Why a leg ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndCause {
    /// We hung up, cancelled or rejected.
    Local,
    /// The peer sent BYE.
    Remote,
    /// The caller cancelled its call before we answered.
    Cancelled,
    /// The peer refused our call.
    Rejected {
        /// 300–699. A redirection is not followed.
        code: u16,
        /// Reason phrase of the status line.
        phrase: String,
        /// Retry-After.
        retry_after: Option<Duration>,
    },
    /// A REFER of ours was carried out and the call is the target's.
    Transferred,
    /// Something that had to come did not.
    TimedOut(Missing),
    /// The peer does not know the dialog any more (481 or 408 to a request of ours, RFC 3261 §12.2.1.2).
    DialogLost,
    /// The message could not be sent at all.
    Transport,
}

/// What did not come in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Any response to our INVITE within 64·T1.
    Response,
    /// A final response to our INVITE within the ring time.
    FinalResponse,
    /// Our own answer to an incoming call within the ring time.
    OurAnswer,
    /// The ACK for our 2xx within 64·T1.
    Ack,
    /// The PRACK for a reliable provisional response of ours within 64·T1 (RFC 3262 §3).
    Prack,
    /// A refresh of the session before it expired (RFC 4028 §10).
    Refresh,
}

/// What became of a REFER of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferOutcome {
    /// The target answered.
    Accepted,
    /// The peer will not do it, or the target did not take the call. The leg lives on.
    Refused {
        /// Final status of the REFER itself, or of the peer's call to the target.
        code: u16,
        /// Its phrase.
        phrase: String,
    },
    /// The peer hung up without a final NOTIFY, as many do after handing the call over. The outcome is unknown.
    PeerHungUp,
    /// No final NOTIFY within the time that `Refer::timeout` gave. The leg lives on.
    TimedOut,
}

/// Where a registration stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistrationState {
    /// The first REGISTER, or the first after a failure, is on its way.
    Registering,
    /// The registrar has our contact.
    Registered {
        /// When the registrar would forget us without a refresh. The endpoint refreshes long before.
        expires_at: Instant,
        /// Our address as the registrar sees it.
        contact: SocketAddr,
    },
    /// The registrar refused or does not answer.
    Failed {
        /// Its status; `None` when there was no answer.
        code: Option<u16>,
        /// One sentence: whose fault and what to do.
        reason: String,
        /// When the endpoint tries again; `None` when it will not.
        retry_at: Option<Instant>,
    },
    /// Taken back on our request. The last state.
    Unregistered,
}
