//! Real FTP clients against the daemon: each test starts `wharf` on a free port of the loopback and lets a program that people
//! use do its work. What arrives is compared octet by octet, on both sides.
//!
//! A program that is not installed is skipped, and the test says so; with `WHARF_REQUIRE_CLIENTS=1` it fails instead.
//! `WHARF_BIN` names another daemon to test than the one just built, an installed one for example; `WHARF_ENGINE` names the
//! engine that it is to use.
//!
//! What clients in the field need of a server, and the tests that hold Wharf to it:
//!
//! | a client needs | tests |
//! |---|---|
//! | 550 for a name that is not there, from every command that takes one | `ftplib_missing_names`, `curl_errors`, `rclone_*` (which makes folders on 550) |
//! | switches of LIST and NLST dropped, and a path behind them used (`LIST -a sub`, `NLST -1`) | `ftplib_lists`, `wget_*`, `ncftp_*`, `rclone_*` |
//! | wildcards in NLST, but only where no file has that very name | `ftplib_lists`, `curl_lists`, `tnftp_*`, `inetutils_*`, `perl_*` |
//! | ABOR heard during a transfer: plain, as urgent data, behind Telnet IP and Synch; 426 then 226 | `ftplib_abort`, `lftp_abort_keeps_the_connection`, `perl_abort`, `curl_ranges` |
//! | no word "ABOR" in the text of 426 | `ftplib_abort`, `lftp_abort_keeps_the_connection` |
//! | data connections ended gracefully: no reset, also where 550 follows | `ftplib_missing_names`, every comparison of octets |
//! | the size in the 150 of RETR; `FILE: name` in the 150 of STOU, with and without an argument | `ftplib_transfers`, `perl_*` |
//! | 257 with doubled quotes, every octet but NUL, CR, LF and `/` in names, no `~`, blanks kept | `ftplib_names`, `curl_odd_names` |
//! | 227 in parentheses, 229 as `(|||port|)` | all passive transfers; `ftplib_addresses` reads the texts |
//! | TYPE A both ways, `A N`, `L 8`; ALLO, ACCT, SMNT, REIN, HELP, STAT; SIZE in TYPE A exact or refused | `ftplib_ascii`, `ftplib_small_commands`, `curl_ascii`, `aria2_*`, `tnftp_*` |
//! | MLSD and MLST with type, size, modify, perm, unique and the UNIX facts; links as links; OPTS MLST | `ftplib_facts`, `lftp_mirrors`, `lftp_mirrors_links_by_mlsd`, `rclone_*`, `ncftp_*` |
//! | FEAT, OPTS UTF8 ON, CLNT, HOST, LANG before login as well | `ftplib_before_login`, `lftp_*`, `rclone_*` |
//! | times and modes set: MFMT, MFF, SITE UTIME in both forms, SITE CHMOD, SITE UMASK; links made: SITE SYMLINK | `ftplib_facts`, `lftp_mirrors`, `lftp_makes_links`, `rclone_*`, `ncftp_*` |
//! | REST with STOR and APPE, kept over PASV, cleared by the transfer and by REST 0; 554 beyond the end | `ftplib_restart`, `curl_resumes`, `lftp_resumes`, `wget_continues`, `aria2_*`, `perl_*` |
//! | MODE Z | `lftp_compresses` |
//! | digests and free space: HASH, the X commands, AVBL | `ftplib_facts` |
//! | commands pipelined | `lftp_mirrors` (sync-mode off), `curl_ranges` (ABOR and QUIT in one) |
//! | connections dropped anywhere free their place at once; 20 logins in parallel from one address | `clients_that_vanish`, `parallel_logins` |
//! | EPSV, EPRT, PASV, PORT, over IPv4 and IPv6; transfers between two sessions of one server | `curl_ways_of_connecting`, `ftplib_addresses`, `*_ipv6`, `inetutils_*` |
//! | LIST in `ls -l` form, dates in UTC, links with their targets; empty folders empty | `ftplib_lists`, `lftp_mirrors_by_list`, `wget_*` |
//! | TLS explicit and implicit, 1.2 and 1.3; sessions resumed on data connections, or not; close_notify after data | `curl_under_tls`, `lftp_mirrors_under_tls`, `ftplib_under_tls`, `basic_ftp_under_tls`, `clients_resume_where_they_must` |
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]
#![cfg(target_os = "linux")]

mod classic;
mod crowd;
mod curl;
mod daemon;
mod fetch;
mod ftplib;
mod lftp;
mod perl;
mod program;
mod rclone;
mod tls;
mod tree;
