//! The system calls of the prototypes: batches on one socket, and io_uring. Linux.
#![allow(unsafe_code)]

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::from_mut;
use std::sync::atomic::{AtomicU16, Ordering};

/// Datagrams in one system call.
pub const BATCH: usize = 64;
/// Room for a datagram.
const ROOM: usize = 512;

/// Buffers for `recvmmsg` and `sendmmsg` on one socket: what was received is sent back from where it lies.
pub struct Batch {
    payloads: Box<[[u8; ROOM]; BATCH]>,
    names: Box<[libc::sockaddr_in; BATCH]>,
    vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

impl Batch {
    pub fn new() -> Self {
        // SAFETY: plain C structs for which zeros are valid.
        let (names, vectors, headers) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut this = Self {
            payloads: Box::new([[0; ROOM]; BATCH]),
            names: Box::new(names),
            vectors: Box::new(vectors),
            headers: Box::new(headers),
        };
        for n in 0..BATCH {
            this.vectors[n].iov_base = this.payloads[n].as_mut_ptr().cast();
            this.headers[n].msg_hdr.msg_name = from_mut(&mut this.names[n]).cast();
            this.headers[n].msg_hdr.msg_iov = from_mut(&mut this.vectors[n]);
            this.headers[n].msg_hdr.msg_iovlen = 1;
        }
        this
    }

    /// Takes what waits, up to [`BATCH`].
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        for n in 0..BATCH {
            self.vectors[n].iov_len = ROOM;
            self.headers[n].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        }
        // SAFETY: each header points to a name and a vector, each vector to a payload; the boxes own them all and
        // have not moved since `new`.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// Datagram `n` of the last [`Self::receive`] and where it came from.
    pub fn datagram(&mut self, n: usize) -> (&mut [u8], SocketAddrV4) {
        let name = &self.names[n];
        let from = SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port));
        let length = (self.headers[n].msg_len as usize).min(ROOM);
        self.vectors[n].iov_len = length;
        (&mut self.payloads[n][..length], from)
    }

    /// Sends the first `count` datagrams back to where they came from.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) {
        // SAFETY: as in `receive`; the lengths were set by `datagram`.
        unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            );
        }
    }
}

// SAFETY: the pointers lead into boxes that the value owns.
unsafe impl Send for Batch {}

/// Buffers of the ring; a power of two.
const BUFFERS: u16 = 4_096;
/// Marks the completion of a send.
const SENT: u64 = 1 << 63;
/// Marks the completion of [`Ring::forget`].
const FORGOTTEN: u64 = 1 << 62;
/// The group of our buffers.
const GROUP: u16 = 1;

/// io_uring with one receive per socket that goes on by itself, and two system calls per round for everything.
pub struct Ring {
    ring: IoUring,
    entries: *mut BufRingEntry,
    buffers: Box<[[u8; ROOM]]>,
    tail: u16,
}

// SAFETY: the pointer leads to a mapping that the value owns and only it uses.
unsafe impl Send for Ring {}

impl Ring {
    /// # Errors
    /// The kernel's: it has no io_uring, or forbids it.
    pub fn open() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(16_384)
            .build(4_096)?;
        let length = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        // SAFETY: an anonymous mapping of our own; the kernel is told its true length, and it lives until the process ends.
        let entries = unsafe {
            let memory = libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if memory == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            ring.submitter().register_buf_ring_with_flags(memory as u64, BUFFERS, GROUP, 0)?;
            memory.cast::<BufRingEntry>()
        };
        let mut this = Self { ring, entries, buffers: vec![[0; ROOM]; usize::from(BUFFERS)].into(), tail: 0 };
        (0..BUFFERS).for_each(|id| this.give(id));
        Ok(this)
    }

    /// Gives a buffer to the kernel.
    fn give(&mut self, id: u16) {
        // SAFETY: the index is below the number of entries that were mapped; the tail lies in the first entry as the
        // kernel defines it, and only we write it.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (BUFFERS - 1)));
            entry.set_addr(self.buffers[usize::from(id)].as_mut_ptr() as u64);
            entry.set_len(ROOM as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to are sockets and buffers that outlive it: the kernel holds the file of a
        // socket until the entry is complete, buffers belong to the ring.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            let _ = self.ring.submit();
        }
    }

    /// Receives on a connected socket from here on; `call` comes with each datagram.
    pub fn listen(&mut self, socket: &UdpSocket, call: u64) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build().user_data(call);
        self.push(&entry);
    }

    /// Receives no more for that call; its socket may be closed.
    pub fn forget(&mut self, call: u64) {
        self.push(&opcode::AsyncCancel::new(call).build().user_data(FORGOTTEN));
    }

    /// Takes what is complete, and hands over what is to be sent. `echo` may change a datagram before it
    /// goes back on the socket of its call.
    pub fn turn(&mut self, sockets: &[Option<UdpSocket>], mut echo: impl FnMut(usize, &mut [u8])) {
        // This is when the kernel runs what it has put off until somebody asks.
        let _ = self.ring.submit();
        let done: Vec<(u64, i32, u32)> =
            self.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())).collect();
        for (data, result, flags) in done {
            if data == FORGOTTEN {
                continue;
            }
            if data & SENT != 0 {
                self.give((data & 0xffff) as u16);
                continue;
            }
            let call = data as usize;
            let received = cqueue::buffer_select(flags).zip(u32::try_from(result).ok());
            match (received, &sockets[call]) {
                (Some((id, length)), Some(socket)) => {
                    let buffer = &mut self.buffers[usize::from(id)];
                    echo(call, &mut buffer[..length as usize]);
                    let pointer = buffer.as_ptr();
                    let send = opcode::Send::new(Fd(socket.as_raw_fd()), pointer, length).build();
                    self.push(&send.user_data(SENT | u64::from(id)));
                }
                (Some((id, _)), None) => self.give(id),
                (None, _) => {}
            }
            // Buffers had run out, or the kernel wants to be asked again.
            if let Some(socket) = &sockets[call]
                && !cqueue::more(flags)
            {
                self.listen(socket, data);
            }
        }
        let _ = self.ring.submit();
    }
}
