//! The transactions of an endpoint: their table, their bytes, their timers, and who is told what.

use super::auth::Carried;
use super::leg::Purpose;
use super::{CommandError, Endpoint, Transmit, Wake};
use crate::sip::config::{Account, Transport};
use crate::sip::dialog::{Dialog, Path};
use crate::sip::event::{LegId, ProbeId, RegistrationId};
use crate::sip::header::{HeaderName, HeaderValue, Via};
use crate::sip::transaction::{
    ClientInput, ClientInvite, ClientNonInvite, Key, Send, ServerInput, ServerInvite, ServerNonInvite, Step, Tell,
    client_invite, client_non_invite, server_invite, server_non_invite,
};
use crate::sip::{Message, Method, Request, Response, StatusCode};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Transactions at one time. Answers floods: a request that finds the table full is refused or dropped, and costs no
/// memory (security class 10).
pub const MAX_TRANSACTIONS: usize = 50_000;

/// 2xx responses of different forks that one INVITE acknowledges; more is an attack or a broken forking proxy.
const MAX_FORKS: usize = 8;

/// Hexadecimal digits of a branch after the cookie: 96 bits nobody guesses.
const BRANCH_DIGITS: usize = 24;

/// A transaction's name within the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct TransactionId(pub(super) u64);

/// Whom a transaction belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// Nobody waits for its outcome.
    Nobody,
    /// A leg, and what it is for.
    Leg(LegId, Purpose),
    /// An OPTIONS outside a dialog.
    Probe(ProbeId),
    /// A registration.
    Registration(RegistrationId),
}

#[derive(Debug)]
#[expect(clippy::enum_variant_names, reason = "the RFC's names of the four machines")]
enum Machine {
    ClientInvite(ClientInvite),
    ClientNonInvite(ClientNonInvite),
    ServerInvite(ServerInvite),
    ServerNonInvite(ServerNonInvite),
}

impl Machine {
    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::ClientInvite(m) => m.next_timeout(),
            Self::ClientNonInvite(m) => m.next_timeout(),
            Self::ServerInvite(m) => m.next_timeout(),
            Self::ServerNonInvite(m) => m.next_timeout(),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Self::ClientInvite(m) => m.state() == client_invite::State::Terminated,
            Self::ClientNonInvite(m) => m.state() == client_non_invite::State::Terminated,
            Self::ServerInvite(m) => m.state() == server_invite::State::Terminated,
            Self::ServerNonInvite(m) => m.state() == server_non_invite::State::Terminated,
        }
    }

    fn handle_client(&mut self, now: Instant, input: ClientInput) -> Step {
        match self {
            Self::ClientInvite(m) => m.handle(now, input),
            Self::ClientNonInvite(m) => m.handle(now, input),
            Self::ServerInvite(_) | Self::ServerNonInvite(_) => Step::NONE,
        }
    }

    fn handle_server(&mut self, now: Instant, input: ServerInput) -> Step {
        match self {
            Self::ServerInvite(m) => m.handle(now, input),
            Self::ServerNonInvite(m) => m.handle(now, input),
            Self::ClientInvite(_) | Self::ClientNonInvite(_) => Step::NONE,
        }
    }

    fn fire(&mut self, now: Instant) -> Option<Step> {
        Some(match self {
            Self::ClientInvite(m) => {
                let timer = m.expire(now)?;
                m.handle(now, ClientInput::Timer(timer))
            }
            Self::ClientNonInvite(m) => {
                let timer = m.expire(now)?;
                m.handle(now, ClientInput::Timer(timer))
            }
            Self::ServerInvite(m) => {
                let timer = m.expire(now)?;
                m.handle(now, ServerInput::Timer(timer))
            }
            Self::ServerNonInvite(m) => {
                let timer = m.expire(now)?;
                m.handle(now, ServerInput::Timer(timer))
            }
        })
    }
}

/// What a merged request has in common with its twin (RFC 3261 §8.2.2.2): From tag, Call-ID, CSeq number, method.
pub(super) type MergeKey = (Box<str>, Box<str>, u32, Method);

/// Who answers challenges in the name of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Username, password and realm.
    pub(super) account: Account,
    /// The only peer whose challenges are answered.
    pub(super) peer: SocketAddr,
}

/// The side of a transaction that is ours to keep besides the machine.
#[derive(Debug)]
enum Role {
    Client(Box<Client>),
    Server(Box<Server>),
}

/// A request of ours.
#[derive(Debug)]
pub(super) struct Client {
    /// As sent, with its Via: the pattern of its ACK, its CANCEL and its repetition with credentials.
    pub(super) request: Request,
    pub(super) identity: Option<Identity>,
    /// The way it would have gone but for its size, until a response shows that it arrived.
    pub(super) by_udp: Option<Path>,
    /// Nonces answered so far in this chain of requests.
    pub(super) nonces: Vec<Box<str>>,
    /// The credentials it carries.
    pub(super) realm: Option<Carried>,
    /// INVITE outside a dialog: what dialogs of its responses start from.
    pub(super) template: Option<Dialog>,
    /// The ACK of a refusal.
    ack: Option<Vec<u8>>,
    /// The ACKs of 2xx responses by To tag, for their repetitions.
    acks: Vec<(Box<str>, Vec<u8>, Path)>,
}

/// A request of the peer.
#[derive(Debug)]
struct Server {
    /// A 200 to it with our To tag: the pattern of every response but 100.
    pattern: Response,
    merge: Option<MergeKey>,
}

#[derive(Debug)]
pub(super) struct Transaction {
    key: Key,
    machine: Machine,
    path: Path,
    /// The request as sent, or the last response.
    bytes: Vec<u8>,
    pub(super) owner: Owner,
    wake: Option<Instant>,
    role: Role,
}

impl Transaction {
    pub(super) fn client(&self) -> Option<&Client> {
        match &self.role {
            Role::Client(client) => Some(client),
            Role::Server(_) => None,
        }
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }
}

/// All live transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    by_id: HashMap<TransactionId, Transaction>,
    by_key: HashMap<Key, TransactionId>,
    merged: HashMap<MergeKey, TransactionId>,
    last: u64,
}

impl Transactions {
    pub(super) fn get(&self, id: TransactionId) -> Option<&Transaction> {
        self.by_id.get(&id)
    }

    pub(super) fn find(&self, key: &Key) -> Option<TransactionId> {
        self.by_key.get(key).copied()
    }

    pub(super) fn find_merged(&self, key: &MergeKey) -> Option<TransactionId> {
        self.merged.get(key).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    fn is_full(&self) -> bool {
        self.by_id.len() >= MAX_TRANSACTIONS
    }

    fn insert(&mut self, transaction: Transaction) -> TransactionId {
        self.last = self.last.saturating_add(1);
        let id = TransactionId(self.last);
        self.by_key.insert(transaction.key.clone(), id);
        if let Role::Server(server) = &transaction.role
            && let Some(merge) = &server.merge
        {
            self.merged.insert(merge.clone(), id);
        }
        self.by_id.insert(id, transaction);
        id
    }
}

/// The key of a received request (RFC 3261 §17.2.3).
pub(super) fn server_key(request: &Message<'_>) -> Option<Key> {
    let (via, method) = (request.via().ok()?, request.method()?);
    if via.has_magic_cookie() {
        let port = via.port().map(|p| format!(":{p}")).unwrap_or_default();
        return Some(Key::server(via.branch()?, &format!("{}{port}", via.host()), method));
    }
    Some(Key::Rfc2543 {
        request_uri: request.request_uri().ok()?.as_str().into(),
        from_tag: request.from().ok()?.tag().unwrap_or_default().into(),
        call_id: request.call_id().ok()?.as_bytes().into(),
        cseq: request.cseq().ok()?.number,
        via: via.raw().into(),
        method: if *method == Method::Ack { Method::Invite } else { method.clone() },
    })
}

/// Where responses to a request go: back on the stream it came by, or to its source when it asks for `rport` (RFC 3581),
/// else to the port of its Via (RFC 3261 §18.2.2). Always to the source's address; `maddr` is not obeyed, since it aims
/// our answers at others.
pub(super) fn reply_address(via: &Via<'_>, transport: Transport, source: SocketAddr) -> SocketAddr {
    match via.rport() {
        _ if transport.is_reliable() => source,
        Some(_) => source,
        None => SocketAddr::new(source.ip(), via.port().unwrap_or(5060)),
    }
}

impl Endpoint {
    /// Sends a request without Via in a transaction of its own.
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        mut request: Request,
        path: Path,
        owner: Owner,
        identity: Option<Identity>,
    ) -> Result<TransactionId, CommandError> {
        if self.transactions.is_full() {
            return Err(CommandError::Full);
        }
        let asked = path;
        let path = self.path_by_size(now, &request, path);
        let branch = format!("{}{}", Via::MAGIC_COOKIE, self.random.hex(BRANCH_DIGITS));
        request.headers.push_front(HeaderName::Via, via(&path, &branch));
        let reliable = path.transport.is_reliable();
        let machine = match request.method {
            Method::Invite => Machine::ClientInvite(ClientInvite::new(now, reliable)),
            _ => Machine::ClientNonInvite(ClientNonInvite::new(now, reliable)),
        };
        let bytes = request.write();
        self.transmit(&path, bytes.clone());
        let key = Key::client(&branch, request.method.clone());
        let by_udp = (path != asked).then_some(asked);
        let client = Client {
            request,
            identity,
            by_udp,
            nonces: Vec::new(),
            realm: None,
            template: None,
            ack: None,
            acks: Vec::new(),
        };
        Ok(self.insert(Transaction { key, machine, path, bytes, owner, wake: None, role: Role::Client(client.into()) }))
    }

    /// Makes the transaction of a received request, if there is room. `tag` goes into To of its responses.
    pub(super) fn start_server(
        &mut self,
        request: &Message<'_>,
        path: Path,
        key: Key,
        owner: Owner,
        tag: &str,
    ) -> Option<TransactionId> {
        if self.transactions.is_full() {
            return None;
        }
        let via = request.via().ok()?;
        let merge = merge_key(request);
        let pattern = Response::to_request(request, StatusCode::OK, path.remote, Some(tag));
        let path = Path { remote: reply_address(&via, path.transport, path.remote), ..path };
        let reliable = path.transport.is_reliable();
        let machine = match request.method() {
            Some(Method::Invite) => Machine::ServerInvite(ServerInvite::new(reliable)),
            _ => Machine::ServerNonInvite(ServerNonInvite::new(reliable)),
        };
        let role = Role::Server(Server { pattern, merge }.into());
        Some(self.insert(Transaction { key, machine, path, bytes: Vec::new(), owner, wake: None, role }))
    }

    fn insert(&mut self, transaction: Transaction) -> TransactionId {
        self.trust.add(transaction.path.remote.ip());
        let id = self.transactions.insert(transaction);
        self.settle(id);
        id
    }

    /// A request of ours within the transactions, changed by `change`; nothing happens once it is over.
    pub(super) fn with_client<T>(&mut self, id: TransactionId, change: impl FnOnce(&mut Client) -> T) -> Option<T> {
        match &mut self.transactions.by_id.get_mut(&id)?.role {
            Role::Client(client) => Some(change(client)),
            Role::Server(_) => None,
        }
    }

    /// Changes whom a transaction belongs to.
    pub(super) fn set_owner(&mut self, id: TransactionId, owner: Owner) {
        if let Some(transaction) = self.transactions.by_id.get_mut(&id) {
            transaction.owner = owner;
        }
    }

    /// Ends a transaction of ours without telling anybody.
    pub(super) fn abandon(&mut self, now: Instant, id: TransactionId) {
        if let Some(transaction) = self.transactions.by_id.get_mut(&id) {
            transaction.owner = Owner::Nobody;
            let _ = transaction.machine.handle_client(now, ClientInput::TransportError);
            self.forget(id);
        }
    }

    /// The pattern of the responses of a server transaction, set to `code`.
    pub(super) fn response(&self, id: TransactionId, code: u16) -> Option<Response> {
        let Role::Server(server) = &self.transactions.by_id.get(&id)?.role else { return None };
        let mut response = server.pattern.clone();
        response.status = StatusCode::new(code)?;
        response.reason = HeaderValue::cleaned(response.status.default_reason());
        if code >= 300 {
            response.headers.remove(HeaderName::RecordRoute);
        }
        if let Some(agent) = &self.config.user_agent {
            response.headers.push(HeaderName::Server, HeaderValue::cleaned(agent));
        }
        Some(response)
    }

    /// Answers a server transaction and gives the bytes that went out.
    pub(super) fn respond(&mut self, now: Instant, id: TransactionId, response: &Response) -> Option<Vec<u8>> {
        let transaction = self.transactions.by_id.get_mut(&id)?;
        let bytes = response.write();
        let step = transaction.machine.handle_server(now, ServerInput::Respond(response.status.code()));
        if step.send.is_some() {
            transaction.bytes.clone_from(&bytes);
        }
        self.carry_out(now, id, step, None);
        Some(bytes)
    }

    /// Answers a server transaction with a bare status.
    pub(super) fn respond_code(&mut self, now: Instant, id: TransactionId, code: u16) {
        if let Some(response) = self.response(id, code) {
            self.respond(now, id, &response);
        }
    }

    /// A request that belongs to a known server transaction came again, or its ACK came.
    pub(super) fn handle_server_repeat(&mut self, now: Instant, id: TransactionId, is_ack: bool) {
        let input = if is_ack { ServerInput::Ack } else { ServerInput::Request };
        if let Some(transaction) = self.transactions.by_id.get_mut(&id) {
            let step = transaction.machine.handle_server(now, input);
            self.carry_out(now, id, step, None);
        }
    }

    /// A response to a transaction of ours came.
    pub(super) fn handle_client_response(
        &mut self,
        now: Instant,
        id: TransactionId,
        response: &Message<'_>,
        source: SocketAddr,
    ) {
        let (Some(transaction), Some(status)) = (self.transactions.by_id.get_mut(&id), response.status()) else {
            return;
        };
        if let Role::Client(client) = &mut transaction.role {
            client.by_udp = None;
        }
        let step = transaction.machine.handle_client(now, ClientInput::Response(status.code()));
        self.carry_out(now, id, step, Some((response, source)));
    }

    /// Fires the timers of a transaction.
    pub(super) fn fire_transaction(&mut self, now: Instant, id: TransactionId) {
        while let Some(step) = self.transactions.by_id.get_mut(&id).and_then(|t| t.machine.fire(now)) {
            self.carry_out(now, id, step, None);
        }
        self.settle(id);
    }

    /// Tells every transaction towards `remote` that the transport failed there.
    pub(super) fn fail_transactions(&mut self, now: Instant, transport: Transport, remote: SocketAddr) {
        let is_there = |t: &Transaction| t.path.remote == remote && t.path.transport == transport;
        let mut failed: Vec<TransactionId> =
            self.transactions.by_id.iter().filter(|(_, t)| is_there(t)).map(|(id, _)| *id).collect();
        failed.sort_unstable();
        for id in failed {
            let Some(transaction) = self.transactions.by_id.get_mut(&id) else { continue };
            // A server transaction keeps repeating its response: the next one may get through.
            let step = transaction.machine.handle_client(now, ClientInput::TransportError);
            self.carry_out(now, id, step, None);
        }
    }

    fn carry_out(&mut self, now: Instant, id: TransactionId, step: Step, response: Option<(&Message<'_>, SocketAddr)>) {
        if let Some(send) = step.send {
            self.send_again(id, send, response.map(|(r, _)| r));
        }
        let owner = self.transactions.get(id).map_or(Owner::Nobody, |t| t.owner);
        match (step.tell, response) {
            (Some(Tell::Response), Some((response, source))) => {
                self.handle_outcome(now, id, owner, response, source);
            }
            (Some(tell @ (Tell::TimedOut | Tell::TransportFailed)), _) => {
                if tell == Tell::TimedOut {
                    self.note_silence(id);
                }
                let is_wanted = !matches!(owner, Owner::Leg(_, Purpose::Abandoned));
                let goes_on = is_wanted && tell == Tell::TransportFailed && self.fall_back_to_udp(now, id, owner);
                self.settle(id);
                if !goes_on {
                    self.handle_failure(now, id, owner, tell);
                }
            }
            _ => {}
        }
        self.settle(id);
    }

    fn send_again(&mut self, id: TransactionId, send: Send, response: Option<&Message<'_>>) {
        let Some(transaction) = self.transactions.by_id.get_mut(&id) else { return };
        let path = transaction.path;
        let bytes = match (send, &mut transaction.role) {
            (Send::Request | Send::Response, _) => transaction.bytes.clone(),
            (Send::Ack, Role::Client(client)) => {
                if client.ack.is_none() {
                    client.ack = response.map(|r| ack_of_refusal(&client.request, r).write());
                }
                client.ack.clone().unwrap_or_default()
            }
            (Send::Ack, Role::Server(_)) => return,
        };
        if !bytes.is_empty() {
            self.transmit(&path, bytes);
        }
    }

    /// Sends the ACK of a 2xx and keeps it for repetitions of that 2xx. The ACK comes from the dialog, without Via.
    pub(super) fn send_ack(&mut self, id: TransactionId, tag: &str, mut ack: Request, path: Path) {
        let branch = format!("{}{}", Via::MAGIC_COOKIE, self.random.hex(BRANCH_DIGITS));
        ack.headers.push_front(HeaderName::Via, via(&path, &branch));
        self.with_client(id, |client| {
            for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
                for value in client.request.headers.values(name) {
                    ack.headers.push(name, value.clone());
                }
            }
        });
        let bytes = ack.write();
        self.with_client(id, |client| {
            if client.acks.len() < MAX_FORKS {
                client.acks.push((tag.into(), bytes.clone(), path));
            }
        });
        self.transmit(&path, bytes);
    }

    /// Repeats the ACK of a 2xx with this To tag. False if that fork has not been acknowledged yet; true as well when
    /// the fork is one too many and is ignored.
    pub(super) fn repeat_ack(&mut self, id: TransactionId, tag: &str) -> bool {
        let Some(client) = self.transactions.get(id).and_then(Transaction::client) else { return true };
        let known = client.acks.iter().find(|(t, ..)| **t == *tag);
        let is_one_too_many = client.acks.len() >= MAX_FORKS;
        if let Some((_, bytes, path)) = known {
            let (bytes, path) = (bytes.clone(), *path);
            self.transmit(&path, bytes);
            return true;
        }
        is_one_too_many
    }

    pub(super) fn transmit(&mut self, path: &Path, bytes: Vec<u8>) {
        let Path { transport, local, remote, .. } = *path;
        self.transmits.push_back(Transmit { transport, local, remote, bytes });
    }

    /// Brings the wake-up of a transaction up to date, or forgets the transaction if it is over.
    fn settle(&mut self, id: TransactionId) {
        let Some(transaction) = self.transactions.by_id.get_mut(&id) else { return };
        if transaction.machine.is_terminated() {
            self.forget(id);
            return;
        }
        let next = transaction.machine.next_timeout();
        let previous = std::mem::replace(&mut transaction.wake, next);
        self.reschedule(Wake::Transaction(id), previous, next);
    }

    fn forget(&mut self, id: TransactionId) {
        let Some(transaction) = self.transactions.by_id.remove(&id) else { return };
        self.reschedule(Wake::Transaction(id), transaction.wake, None);
        self.trust.remove(transaction.path.remote.ip());
        if self.transactions.by_key.get(&transaction.key) == Some(&id) {
            self.transactions.by_key.remove(&transaction.key);
        }
        if let Role::Server(server) = &transaction.role
            && let Some(merge) = &server.merge
            && self.transactions.merged.get(merge) == Some(&id)
        {
            self.transactions.merged.remove(merge);
        }
    }
}

/// The identity that merged copies of a request outside a dialog share; `None` inside a dialog.
pub(super) fn merge_key(request: &Message<'_>) -> Option<MergeKey> {
    if request.to().ok()?.tag().is_some() {
        return None;
    }
    let from_tag = request.from().ok()?.tag()?.into();
    Some((from_tag, request.call_id().ok()?.into(), request.cseq().ok()?.number, request.method()?.clone()))
}

fn via(path: &Path, branch: &str) -> HeaderValue {
    HeaderValue::via(path.transport.via_name(), &path.advertised.to_string(), branch)
}

/// The ACK of a final response other than 2xx: RFC 3261 §17.1.1.3.
fn ack_of_refusal(invite: &Request, response: &Message<'_>) -> Request {
    let mut ack = derived(invite, Method::Ack);
    if let Some(to) = response.value(HeaderName::To) {
        ack.headers.set(HeaderName::To, HeaderValue::echo(to));
    }
    ack
}

/// The CANCEL of a request (RFC 3261 §9.1), with its Via.
fn cancel_of(invite: &Request) -> Request {
    derived(invite, Method::Cancel)
}

fn derived(invite: &Request, method: Method) -> Request {
    let mut request = Request::new(method, invite.uri.clone());
    if let Some(via) = invite.headers.value(HeaderName::Via) {
        request.headers.push(HeaderName::Via, via.clone());
    }
    for name in [HeaderName::MaxForwards, HeaderName::Route, HeaderName::From, HeaderName::To, HeaderName::CallId] {
        for value in invite.headers.values(name) {
            request.headers.push(name, value.clone());
        }
    }
    if let Some(cseq) = invite.headers.value(HeaderName::CSeq) {
        let number: String = cseq.to_text().chars().take_while(char::is_ascii_digit).collect();
        request.headers.push(HeaderName::CSeq, HeaderValue::cleaned(&format!("{number} {}", request.method)));
    }
    request
}

impl Endpoint {
    /// Sends the CANCEL of an INVITE of ours in a transaction of its own, under the same branch.
    pub(super) fn start_cancel(&mut self, now: Instant, invite: TransactionId) {
        let Some(transaction) = self.transactions.get(invite) else { return };
        let Some(client) = transaction.client() else { return };
        let (request, path) = (cancel_of(&client.request), transaction.path);
        let branch = match &transaction.key {
            Key::Client { branch, .. } => branch.clone(),
            Key::Server { .. } | Key::Rfc2543 { .. } => return,
        };
        let key = Key::client(&branch, Method::Cancel);
        if self.transactions.find(&key).is_some() || self.transactions.is_full() {
            return;
        }
        let bytes = request.write();
        self.transmit(&path, bytes.clone());
        let machine = Machine::ClientNonInvite(ClientNonInvite::new(now, path.transport.is_reliable()));
        let client = Client {
            request,
            identity: None,
            by_udp: None,
            nonces: Vec::new(),
            realm: None,
            template: None,
            ack: None,
            acks: Vec::new(),
        };
        let role = Role::Client(client.into());
        self.insert(Transaction { key, machine, path, bytes, owner: Owner::Nobody, wake: None, role });
    }
}

/// Addresses of peers that we are in touch with, counted by what ties us to them.
#[derive(Debug, Default)]
pub(super) struct Trust(HashMap<IpAddr, u32>);

impl Trust {
    pub(super) fn add(&mut self, address: IpAddr) {
        let count = self.0.entry(address.to_canonical()).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        if let Some(count) = self.0.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&address);
            }
        }
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.0.contains_key(&address.to_canonical())
    }
}
