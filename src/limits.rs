//! Every bound in one place, each with its reason.

use core::time::Duration;

/// Before a round trip was measured: RFC 6298 § 2.1.
pub const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// Below this a busy peer's scheduling looks like loss.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Beyond this a transfer that could go on looks dead to the person who waits.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(5);

/// GRUB stops acknowledging for as long as its consumer is slow; 34 s is the longest it waits itself.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The longest time that a transfer may be told to run by: a year, which no moment runs over from.
pub const LONGEST_TIMING: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A copy made by the network, or by a peer that answers every duplicate, is here within this time; no peer's own
/// timer is so short.
pub const ECHO_SPAN: Duration = Duration::from_millis(50);

/// A peer that says nothing of its interval is taken to have this one: atftp and tftp-hpa do, firmware is quicker.
pub const INTERVAL_OF_OTHERS: Duration = Duration::from_secs(5);

/// After its last ACK a server answers a repeated last DATA for so many of the client's intervals: one for the loss
/// of that ACK and one for the loss of the next.
pub const DALLY_INTERVALS: u32 = 2;

/// It is not longer than this, whatever interval was negotiated: the file is safe, and a client that waits longer for
/// its one ACK costs all others a port meanwhile. Two [`INTERVAL_OF_OTHERS`].
pub const LONGEST_DALLY: Duration = Duration::from_secs(10);

/// The part, as a divisor, of the sessions and of the ports that those may have who only dally: the next who asks
/// finds a port at once, even where a thousand short uploads ended a moment ago.
pub const STAYING_SHARE: usize = 2;

/// When descriptors or ports run out, so many uploads that only dally leave: as many as a request may need
/// descriptors while it is opened.
pub const LEAVE_AT_ONCE: usize = 8;

/// Half of the 16-bit number space, less one: beyond it a block number no longer says which block is meant.
pub const WIDEST_WINDOW: u16 = (1 << 15) - 1;

/// Memory for the window of one transfer. It holds 64 blocks of 1,428 bytes ten times over, or 15 of 65,464.
pub const WINDOW_BYTES: usize = 1 << 20;

/// A lock-step transfer reads so far ahead, so that the file costs one system call for many small blocks.
pub const READ_AHEAD_BYTES: usize = 16 << 10;

/// All lock-step transfers together read ahead so much, each its share: with ten thousand of them memory counts for
/// more than system calls.
pub const READ_AHEAD_OF_ALL: usize = 2 << 20;

/// Packets to an address that has not answered: an OACK is small, and GRUB never repeats the ACK it lost.
pub const UNPROVEN_PACKETS: u32 = 5;

/// Bytes to an address that has not answered: DATA 1 of 512 bytes, twice. Others send 3,096 to 3,612.
pub const UNPROVEN_BYTES: usize = 1032;

/// Transfers at once: a data centre that starts at the same moment. Each costs a socket and about 2 KiB.
pub const SESSIONS: usize = 16_384;

/// Descriptors of a download: its socket. Those who read the same file share it.
pub const DESCRIPTORS_OF_DOWNLOAD: u64 = 1;

/// Descriptors of an upload: its socket, its file, and the directory that will have it.
pub const DESCRIPTORS_OF_UPLOAD: u64 = 3;

/// Files that are open for several transfers at once: a boot has tens of them.
pub const SHARED_FILES: usize = 256;

/// Descriptors of a server beside those: standard streams, request ports, loops, and what is open for a moment.
pub const DESCRIPTORS_OF_SERVER: u64 = 64;

/// Threads for transfers, where each has its own; some 20 KiB each with its kernel stack. From about here on a loop
/// does the same work for half the processor time.
pub const THREADS: usize = 256;

/// The part of the sessions, as a divisor, that must have answered: a flood of forged requests may not take all.
pub const PROVEN_RESERVE: usize = 4;

/// The part, as a divisor, that the clients of one network (an IPv4 /24, an IPv6 /56) may have without having
/// answered. Loopback cannot be forged from outside and is exempt.
pub const UNPROVEN_SHARE: usize = 4;

/// Memory for the windows of all transfers. When it is used up, windows shrink to one small block.
pub const WINDOWS_BYTES: usize = 512 << 20;

/// ERROR answers to one network at once. PXELINUX and GRUB ask for tens of files that are not there in one go,
/// and a rack behind one address does so together.
pub const ERROR_BURST: u32 = 512;

/// ERROR answers to one network in each second after that.
pub const ERRORS_PER_SECOND: u32 = 128;

/// Networks whose ERROR answers are counted apart; those that share a slot share its allowance.
pub const ERROR_SLOTS: usize = 1_024;

/// An ERROR's text. The longest that old clients hold without harm.
pub const ERROR_TEXT: usize = 128;

/// The largest datagram that UDP over IPv4 carries; nothing larger arrives.
pub const DATAGRAM: usize = 65_507;

/// A request. RFC 2347 has 512 as the maximum; firmware pads to 516, and some ask with more options.
pub const REQUEST: usize = 2_048;

/// Entries of one listing: 10,000 lines are what a person or a script can still use.
pub const LISTING_ENTRIES: usize = 10_000;

/// Names looked at for one listing, those left out included: each costs system calls.
pub const LISTING_LOOKS: usize = 5 * LISTING_ENTRIES;

/// Bytes of one listing: it is built in memory for each request.
pub const LISTING_BYTES: usize = 1 << 20;

/// One upload, when the operator sets no other limit: larger than any firmware or configuration, smaller than a
/// disk.
pub const UPLOAD_BYTES: u64 = 4 << 30;

/// Directories that one upload may make.
pub const CREATED_DIRECTORIES: usize = 16;

/// Names looked at for what killed uploads left: about a second's work when the server starts, beside its first
/// transfers. In a folder with more, what is farther down stays.
pub const SWEPT_NAMES: usize = 1_000_000;

/// Directories within each other that are looked into for that; each costs a descriptor meanwhile.
pub const SWEPT_DEPTH: usize = 32;

/// So long one looks for an answer before one sleeps: what it costs to be woken, more or less.
pub const EAGER: Duration = Duration::from_micros(50);

/// A name in a request: the longest path that Linux opens.
pub const NAME: usize = 4_096;

/// Requests taken from a socket before the others get their turn.
pub const REQUESTS_IN_A_ROW: usize = 64;

/// Threads that wait for disks in the place of a loop: a disk has so much to do at once at most, and a network file
/// system that hangs must not take all threads there are.
pub const STORAGE_THREADS: usize = 4;

/// The stack of a transfer's thread: many times what its calls take, for what is not touched costs nothing, and of
/// larger stacks fewer are kept for the next thread when this one ends.
pub const THREAD_STACK: usize = 512 << 10;

/// Ports tried for one transfer before there is none: beyond this the range is as good as full.
pub const PORTS_TRIED: u32 = 64;

/// When stopped, a server lets transfers run on for so long by default.
pub const DRAIN: Duration = Duration::from_secs(10);

/// A file that is read into memory and was given no other bound: kernels and small ramdisks are shorter, and no
/// server fills a machine's memory.
pub const READ_BYTES: usize = 64 << 20;
