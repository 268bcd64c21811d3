//! The system calls that the standard library does not have: `recvmmsg`, socket timestamps, thread priority,
//! thread CPU time, the number of heaps; and what the processor can be asked for. The only module with `unsafe`. Linux.
#![allow(unsafe_code)]

use super::limits::MAX_DATAGRAM;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Datagrams per call of `recvmmsg`: usually one has come, a few after a hiccup.
pub const BATCH: usize = 8;
/// Room for one timestamp.
const CONTROL: usize = 64;

/// Ancillary data must be aligned like its header.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Buffers for one `recvmmsg`, used again and again by a worker for all of its sockets.
pub struct Datagrams {
    payloads: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    names: [libc::sockaddr_storage; BATCH],
    controls: [Control; BATCH],
    headers: [libc::mmsghdr; BATCH],
    received: usize,
}

// SAFETY: the raw pointers in `headers` are written anew by every `receive` before the kernel reads them and
// are not read otherwise, so the value may move between threads.
unsafe impl Send for Datagrams {}

impl Default for Datagrams {
    fn default() -> Self {
        Self::new()
    }
}

impl Datagrams {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            payloads: Box::new([[0; MAX_DATAGRAM]; BATCH]),
            // SAFETY: all three are plain C structs for which zeros are valid.
            names: unsafe { zeroed() },
            controls: [Control([0; CONTROL]); BATCH],
            headers: unsafe { zeroed() },
            received: 0,
        }
    }

    /// Takes up to [`BATCH`] waiting datagrams from the socket without blocking; fewer mean that it is empty.
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        let payloads = self.payloads.iter_mut();
        let rest = self.names.iter_mut().zip(self.controls.iter_mut()).zip(self.headers.iter_mut());
        let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
        for ((payload, ((name, control), header)), vector) in payloads.zip(rest).zip(vectors.iter_mut()) {
            let vector = vector.write(libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: MAX_DATAGRAM });
            header.msg_len = 0;
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = std::ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: every header points to a name, a control buffer and a vector of the lengths given, all of
        // which live until the call returns; the socket is open for as long as it is borrowed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        self.received = usize::try_from(count).unwrap_or(0).min(BATCH);
        self.received
    }

    /// As [`Self::iter`], to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Option<&mut [u8]>, SocketAddr, Option<SystemTime>)> + '_ {
        let parts = self.payloads.iter_mut().zip(&self.names).zip(&self.headers);
        parts.take(self.received).filter_map(|((payload, name), header)| {
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let octets = payload.get_mut(..header.msg_len as usize).filter(|_| whole);
            Some((octets, socket_address(name)?, kernel_time(&header.msg_hdr)))
        })
    }

    /// The datagrams of the last [`Self::receive`]: octets (`None` when one was too long), sender, and when it
    /// reached the kernel by the system's real-time clock.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&[u8]>, SocketAddr, Option<SystemTime>)> + '_ {
        let parts = self.payloads.iter().zip(&self.names).zip(&self.headers);
        parts.take(self.received).filter_map(|((payload, name), header)| {
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let octets = payload.get(..header.msg_len as usize).filter(|_| whole);
            Some((octets, socket_address(name)?, kernel_time(&header.msg_hdr)))
        })
    }
}

fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds an IPv4 address; it is large and aligned enough.
            let v4 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for IPv6.
            let v6 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::from((Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}

fn kernel_time(header: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: the kernel filled in the control buffer and its length, and the buffer has not moved since:
    // it belongs to the `Datagrams` that is borrowed. The macros stay within that length.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET && (*control).cmsg_type == libc::SCM_TIMESTAMPNS {
                let stamp = libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned();
                let nanos = u32::try_from(stamp.tv_nsec).ok()?;
                return Some(UNIX_EPOCH + Duration::new(u64::try_from(stamp.tv_sec).ok()?, nanos));
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

/// Asks the kernel to note when each datagram arrived: a worker looks every 20 ms, which would hide all jitter.
///
/// # Errors
/// The system's, for a socket that cannot do it.
pub fn enable_timestamps(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is a C int that lives until the call returns, and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Raises the calling thread above the rest of the process as far as the system allows, and says how far:
/// `realtime 5`, `nice -11` or `normal`. Also asks for wake-ups that are not put off to save power.
pub(super) fn raise_priority() -> &'static str {
    // SAFETY: these calls take plain integers and one struct that outlives the call; thread 0 is the caller.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong, 0, 0, 0);
        let mut parameter: libc::sched_param = zeroed();
        parameter.sched_priority = 5;
        if libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter) == 0 {
            return "realtime 5";
        }
        let thread = libc::gettid() as libc::id_t;
        if libc::setpriority(libc::PRIO_PROCESS as _, thread, -11) == 0 {
            return "nice -11";
        }
    }
    "normal"
}

/// Octets that the processor moves at once.
const CACHE_LINE: usize = 64;

/// Asks the processor to bring a value nearer while it goes on, so that whoever reads it soon need not wait for memory. To no
/// effect where it cannot be asked.
pub fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(value)).step_by(CACHE_LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it has no effect that a program could see, whatever the address; this one lies within the value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().wrapping_add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// CPU time of the calling thread.
pub(super) fn thread_cpu_time() -> Duration {
    // SAFETY: the struct outlives the call that fills it in.
    unsafe {
        let mut time: libc::timespec = zeroed();
        if libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) != 0 {
            return Duration::ZERO;
        }
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Cores that share a heap of the C library.
const CORES_PER_HEAP: usize = 8;

/// Has the threads of this process share one heap per 8 cores, and says how many those are; 0 where the C library is not
/// glibc, which gives each thread a heap of its own up to 8 per core. What a call allocates on one thread is freed on
/// another, so that many heaps grow apart: 200 calls that come and go take 1.8 MB more, and go on growing for a quarter of
/// an hour. To be called before the first thread is started; media workers allocate nothing and are not held up.
pub fn share_heaps() -> usize {
    let heaps = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(CORES_PER_HEAP);
    #[cfg(target_env = "gnu")]
    {
        let count = libc::c_int::try_from(heaps).unwrap_or(libc::c_int::MAX);
        // SAFETY: takes two integers and may be called at any time.
        if unsafe { libc::mallopt(libc::M_ARENA_MAX, count) } == 1 {
            return heaps;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn threads_share_a_heap_for_every_eight_cores() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(share_heaps(), cores.div_ceil(8));
    }

    #[test]
    fn datagrams_come_with_sender_length_and_time() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(receiver) = UdpSocket::bind((ip, 0)) else { continue };
            let sender = UdpSocket::bind((ip, 0)).unwrap();
            enable_timestamps(&receiver).unwrap();
            let to = receiver.local_addr().unwrap();
            for length in [1, MAX_DATAGRAM, MAX_DATAGRAM + 1, 12] {
                sender.send_to(&vec![7; length], to).unwrap();
            }
            let mut datagrams = Datagrams::new();
            assert_eq!(datagrams.receive(&receiver), 4);
            let lengths: Vec<_> = datagrams.iter().map(|(octets, _, _)| octets.map(<[u8]>::len)).collect();
            assert_eq!(lengths, [Some(1), Some(MAX_DATAGRAM), None, Some(12)]);
            for (_, from, at) in datagrams.iter() {
                assert_eq!(from, sender.local_addr().unwrap());
                assert!(at.unwrap().elapsed().unwrap() < Duration::from_secs(5));
            }
            assert_eq!(datagrams.receive(&receiver), 0);
            assert_eq!(datagrams.iter().count(), 0);
        }
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = thread_cpu_time();
        let mut sum = 0u64;
        while thread_cpu_time() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(thread_cpu_time() > before);
    }
}
