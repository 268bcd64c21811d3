//! Media workers: dedicated threads, the 20 ms wheel, sockets and ports, and the rings to the calls.
