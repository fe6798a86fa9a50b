# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rtftpd_global_optspecs
    string join \n config= l/listen= rules= links-to= interface= uploads= create-dirs max-upload= keep-versions= upload-name= on-upload= on-upload-within= growing-files map-file= map-rule= strip-prefix= strip-junk ignore-case no-list list-name= model= max-threads= event-threads= single-port max-sessions= network-sessions= unproven-sessions= request-rate= error-rate= unheard-rate= rate= memory= max-blksize= max-blksize-of= whole-packets max-windowsize= no-offload ports= patience= first-interval= intervals= drain= inetd idle-exit= handover= pid-file= user= sandbox= http= http-name= json events-to= progress-log= log-rate= trace= pcap-on-failure= v/verbose q/quiet h/help V/version
end

function __fish_rtftpd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rtftpd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rtftpd_using_subcommand
    set -l cmd (__fish_rtftpd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rtftpd -n "__fish_rtftpd_needs_command" -l config -d 'A file of options, each by its long name, and of rules (TOML); the environment and the command line go before it [default: /etc/rtftpd/rtftpd.toml, if it is there]' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -s l -l listen -d 'Where to take requests; may be given several times: HOST:PORT, HOST or PORT, where HOST is an address or a name [default: [::]:69, IPv4 too]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l rules -d 'A file of rules: who may do what, from where they are served, and what is different for them (TOML; the README has an example)' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l links-to -d 'A folder elsewhere that links in ROOT may lead to, for reading; may be given several times' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l interface -d 'Hear and answer on this network interface alone, whatever the routes say' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l uploads -d 'What clients may write' -r -f -a "off\t'Nothing'
create\t'Files whose names are new'
overwrite\t'Any file'"
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l max-upload -d 'The most bytes of one upload; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l keep-versions -d 'Keep so many old versions of a file that uploads replace beside it, the oldest goes first: sw.cfg.~1~, sw.cfg.~2~ and so on, as \'cp --backup=numbered\' names them' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l upload-name -d 'Store each upload under this name in place of its own, as in \'{ip}/{stem}-{date}-{seq}{ext}\': there are {name}, {stem} and {ext} of the file, without directories; {date} and {time} (UTC); {seq}, the first number that is free; {ip} and {mac} of the client' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l on-upload -d 'Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too; RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client\'s address. It runs as the user that serves, outside the sandbox' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l on-upload-within -d 'The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is killed with its process group, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l map-file -d 'A file with rules for names, as \'in.tftpd --map-file\' takes it (tftp-hpa)' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l map-rule -d 'A rule for names, as a line of such a file: \'r ^ clients/\\i/\' gives each client a folder of its own; may be given several times, behind the rules of --map-file' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l strip-prefix -d 'Leave this out where a name begins with it, as in \'/tftpboot/\' or \'C:\'; may be given several times, the first that fits goes' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l list-name -d 'The name under which every directory has its listing' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l model -d 'What drives transfers' -r -f -a "threads\t'Each on a thread of its own: a slow disk holds up one transfer and no other'
events\t'All on one loop: less processor time and memory, from a hundred at once on'
processes\t'Each in a new process that has its socket and no file: what the network says can harm one transfer and no other'
iterative\t'One after the other, to compare with'"
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l max-threads -d 'With --model threads: threads at once; transfers beyond them run on an event loop. With --model processes: processes at once; requests beyond them are not answered yet' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l event-threads -d 'With --model events: loops, each on a thread; more than one pays only with more than two processors' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l max-sessions -d 'Transfers at once' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l network-sessions -d 'Transfers at once of one network (an IPv4 /24, an IPv6 /56) [default: three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l unproven-sessions -d 'Transfers at once whose clients have not answered yet, of one network and of all [default: a quarter and three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l request-rate -d 'Requests in a second of one network and of all, and four times as many at once; the rest is dropped' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l error-rate -d 'Answers in a second that are longer than what they answer and begin no transfer, to one network and to all, and four times as many at once; after that errors go without their text' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l unheard-rate -d 'With --single-port: bytes in a second to one network and to all whose addresses have not shown that they hear; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l rate -d 'Bytes in a second that all downloads together take; their clients share them fairly [default: as many as they can]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l memory -d 'Memory for the windows of all transfers, beyond which each gets one small block at a time; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l max-blksize -d 'The largest block size to grant, in bytes; 1428 keeps every packet whole on an Ethernet or a VPN' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l max-blksize-of -d 'The largest block size for clients of one network, as NETWORK=BYTES; may be given several times, the first that fits counts' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l max-windowsize -d 'The widest window to grant, in blocks; 1 turns windows off' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l ports -d 'Ports for transfers, as FIRST-LAST (for a firewall) [default: any the system gives]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l patience -d 'The time after which a client that makes no progress is gone; one that has not answered at all gives way to others after 3 seconds, where they need its place' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l first-interval -d 'The time before something is sent again, while no round trip has been measured' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l intervals -d 'The shortest and the longest interval between two attempts (after three in vain 7.5 seconds, unless the longest is below 5)' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l drain -d 'The time that running transfers get when the server is stopped' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l idle-exit -d 'End when nothing was asked for so long and no transfer runs: who keeps the socket starts it again [default: with --inetd 15min, else never]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l handover -d 'Hand over to a new server: one that is started with the same FILE takes the sockets from this one, which then takes no more requests and ends with its last transfer' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l pid-file -d 'Write the number of the process there, and hold it: \'rtftpd reload\' finds the server by it' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l user -d 'Who to become once the addresses are bound, by name or number, where root starts it [default: tftp where there is one, else nobody]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l sandbox -d 'What the server gives up before it serves, as far as the kernel can take it' -r -f -a "files\t'Landlock: no files but those in the folder and in the directory above it, where a folder that is swapped would be; no TCP, no signals to others'
folder\t'The same for this very folder alone: one that is swapped or mounted later needs a restart'
calls\t'Seccomp: only the system calls of a TFTP server; without --uploads none that changes a file'
rights\t'No capability, and none to be had by a program that is started (no_new_privs)'
none\t'Nothing of it'"
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l http -d 'Show what the server does, and the folder itself whatever the rules are, on a page at http://ADDRESS:PORT/, and its metrics at /metrics; a port alone is for this machine only [default: off]' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l http-name -d 'A name by which browsers and monitors reach the page; may be given several times. Without it they do by address, or as localhost' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l events-to -d 'Write each event as a line of JSON to a file, to a socket (unix:PATH), or to a command that reads them (\'| COMMAND\'); it is started before the server gives up its rights, as the user that serves' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l progress-log -d 'Log each transfer that is under way once in so much time, with how far it is' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l log-rate -d 'Log lines in each second at most, after ten times as many at once; those left out are counted; 0 leaves none out' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l trace -d 'Log each packet of transfers, a line for each, within --log-rate; of clients at one address or in one network, as --trace=192.0.2.7 or --trace=192.0.2.0/24, or of all' -r
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l pcap-on-failure -d 'Keep the last packets of each transfer that fails as a capture for Wireshark in this folder: the last hundred of them, a few KiB each' -r -F
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l create-dirs -d 'Let an upload make the directories in its name'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l growing-files -d 'Send files that grow meanwhile, as long as they were at first (logs); without this their transfers end with an error'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l strip-junk -d 'Leave out 0xFF and control characters at the end of a name: some firmware does not end what DHCP told it'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l ignore-case -d 'Look for a name that is not there in letters of the other size (A-Z, a-z), as Windows does'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l no-list -d 'Offer no listing: neither LIST requests nor the generated file'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l single-port -d 'Send and receive everything at the port that takes the requests, for NAT, containers and load balancers; transfers run as with --model events, and an address proves less (see rfc/single-port.md)'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l whole-packets -d 'Grant no block that the path to the client would carry in pieces (its MTU, where the kernel knows it)'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l no-offload -d 'Let neither kernel nor device cut and join packets (UDP_SEGMENT, UDP_GRO): for a device that fails at it'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l inetd -d 'Serve at the socket that is standard input, as inetd and xinetd give it with \'wait\', and end when nobody asks any more (--idle-exit); log lines go to the journal or to syslog'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -l json -d 'Write log lines as JSON, and the banner too, as one of them for each address'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -s v -l verbose -d 'Tell more: -v also what was dropped, and when a transfer begins'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -s q -l quiet -d 'Tell only of trouble, and show no banner'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -s V -l version -d 'Print version'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -a "check" -d 'See whether the server could be started so, and show its configuration, and where each value comes from'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -a "explain" -d 'Say what a request would come to: which rule is for it, which file it gets, and what is answered'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -a "reload" -d 'Have a running server read its configuration, rules and maps again, as SIGHUP does'
complete -c rtftpd -n "__fish_rtftpd_needs_command" -a "top" -d 'Show in this terminal what a server does that was started with --http'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l config -d 'A file of options, each by its long name, and of rules (TOML); the environment and the command line go before it [default: /etc/rtftpd/rtftpd.toml, if it is there]' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -s l -l listen -d 'Where to take requests; may be given several times: HOST:PORT, HOST or PORT, where HOST is an address or a name [default: [::]:69, IPv4 too]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l rules -d 'A file of rules: who may do what, from where they are served, and what is different for them (TOML; the README has an example)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l links-to -d 'A folder elsewhere that links in ROOT may lead to, for reading; may be given several times' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l interface -d 'Hear and answer on this network interface alone, whatever the routes say' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l uploads -d 'What clients may write' -r -f -a "off\t'Nothing'
create\t'Files whose names are new'
overwrite\t'Any file'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l max-upload -d 'The most bytes of one upload; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l keep-versions -d 'Keep so many old versions of a file that uploads replace beside it, the oldest goes first: sw.cfg.~1~, sw.cfg.~2~ and so on, as \'cp --backup=numbered\' names them' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l upload-name -d 'Store each upload under this name in place of its own, as in \'{ip}/{stem}-{date}-{seq}{ext}\': there are {name}, {stem} and {ext} of the file, without directories; {date} and {time} (UTC); {seq}, the first number that is free; {ip} and {mac} of the client' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l on-upload -d 'Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too; RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client\'s address. It runs as the user that serves, outside the sandbox' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l on-upload-within -d 'The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is killed with its process group, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l map-file -d 'A file with rules for names, as \'in.tftpd --map-file\' takes it (tftp-hpa)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l map-rule -d 'A rule for names, as a line of such a file: \'r ^ clients/\\i/\' gives each client a folder of its own; may be given several times, behind the rules of --map-file' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l strip-prefix -d 'Leave this out where a name begins with it, as in \'/tftpboot/\' or \'C:\'; may be given several times, the first that fits goes' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l list-name -d 'The name under which every directory has its listing' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l model -d 'What drives transfers' -r -f -a "threads\t'Each on a thread of its own: a slow disk holds up one transfer and no other'
events\t'All on one loop: less processor time and memory, from a hundred at once on'
processes\t'Each in a new process that has its socket and no file: what the network says can harm one transfer and no other'
iterative\t'One after the other, to compare with'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l max-threads -d 'With --model threads: threads at once; transfers beyond them run on an event loop. With --model processes: processes at once; requests beyond them are not answered yet' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l event-threads -d 'With --model events: loops, each on a thread; more than one pays only with more than two processors' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l max-sessions -d 'Transfers at once' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l network-sessions -d 'Transfers at once of one network (an IPv4 /24, an IPv6 /56) [default: three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l unproven-sessions -d 'Transfers at once whose clients have not answered yet, of one network and of all [default: a quarter and three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l request-rate -d 'Requests in a second of one network and of all, and four times as many at once; the rest is dropped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l error-rate -d 'Answers in a second that are longer than what they answer and begin no transfer, to one network and to all, and four times as many at once; after that errors go without their text' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l unheard-rate -d 'With --single-port: bytes in a second to one network and to all whose addresses have not shown that they hear; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l rate -d 'Bytes in a second that all downloads together take; their clients share them fairly [default: as many as they can]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l memory -d 'Memory for the windows of all transfers, beyond which each gets one small block at a time; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l max-blksize -d 'The largest block size to grant, in bytes; 1428 keeps every packet whole on an Ethernet or a VPN' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l max-blksize-of -d 'The largest block size for clients of one network, as NETWORK=BYTES; may be given several times, the first that fits counts' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l max-windowsize -d 'The widest window to grant, in blocks; 1 turns windows off' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l ports -d 'Ports for transfers, as FIRST-LAST (for a firewall) [default: any the system gives]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l patience -d 'The time after which a client that makes no progress is gone; one that has not answered at all gives way to others after 3 seconds, where they need its place' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l first-interval -d 'The time before something is sent again, while no round trip has been measured' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l intervals -d 'The shortest and the longest interval between two attempts (after three in vain 7.5 seconds, unless the longest is below 5)' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l drain -d 'The time that running transfers get when the server is stopped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l idle-exit -d 'End when nothing was asked for so long and no transfer runs: who keeps the socket starts it again [default: with --inetd 15min, else never]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l handover -d 'Hand over to a new server: one that is started with the same FILE takes the sockets from this one, which then takes no more requests and ends with its last transfer' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l pid-file -d 'Write the number of the process there, and hold it: \'rtftpd reload\' finds the server by it' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l user -d 'Who to become once the addresses are bound, by name or number, where root starts it [default: tftp where there is one, else nobody]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l sandbox -d 'What the server gives up before it serves, as far as the kernel can take it' -r -f -a "files\t'Landlock: no files but those in the folder and in the directory above it, where a folder that is swapped would be; no TCP, no signals to others'
folder\t'The same for this very folder alone: one that is swapped or mounted later needs a restart'
calls\t'Seccomp: only the system calls of a TFTP server; without --uploads none that changes a file'
rights\t'No capability, and none to be had by a program that is started (no_new_privs)'
none\t'Nothing of it'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l http -d 'Show what the server does, and the folder itself whatever the rules are, on a page at http://ADDRESS:PORT/, and its metrics at /metrics; a port alone is for this machine only [default: off]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l http-name -d 'A name by which browsers and monitors reach the page; may be given several times. Without it they do by address, or as localhost' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l events-to -d 'Write each event as a line of JSON to a file, to a socket (unix:PATH), or to a command that reads them (\'| COMMAND\'); it is started before the server gives up its rights, as the user that serves' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l progress-log -d 'Log each transfer that is under way once in so much time, with how far it is' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l log-rate -d 'Log lines in each second at most, after ten times as many at once; those left out are counted; 0 leaves none out' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l trace -d 'Log each packet of transfers, a line for each, within --log-rate; of clients at one address or in one network, as --trace=192.0.2.7 or --trace=192.0.2.0/24, or of all' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l pcap-on-failure -d 'Keep the last packets of each transfer that fails as a capture for Wireshark in this folder: the last hundred of them, a few KiB each' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l create-dirs -d 'Let an upload make the directories in its name'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l growing-files -d 'Send files that grow meanwhile, as long as they were at first (logs); without this their transfers end with an error'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l strip-junk -d 'Leave out 0xFF and control characters at the end of a name: some firmware does not end what DHCP told it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l ignore-case -d 'Look for a name that is not there in letters of the other size (A-Z, a-z), as Windows does'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l no-list -d 'Offer no listing: neither LIST requests nor the generated file'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l single-port -d 'Send and receive everything at the port that takes the requests, for NAT, containers and load balancers; transfers run as with --model events, and an address proves less (see rfc/single-port.md)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l whole-packets -d 'Grant no block that the path to the client would carry in pieces (its MTU, where the kernel knows it)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l no-offload -d 'Let neither kernel nor device cut and join packets (UDP_SEGMENT, UDP_GRO): for a device that fails at it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l inetd -d 'Serve at the socket that is standard input, as inetd and xinetd give it with \'wait\', and end when nobody asks any more (--idle-exit); log lines go to the journal or to syslog'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -l json -d 'Write log lines as JSON, and the banner too, as one of them for each address'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -s v -l verbose -d 'Tell more: -v also what was dropped, and when a transfer begins'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -s q -l quiet -d 'Tell only of trouble, and show no banner'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand check" -s h -l help -d 'Print help'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l from -d 'Who asks: an address, and a port if it matters' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l to -d 'The address of this machine that is asked [default: that of loopback]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l mac -d 'The hardware address of who asks [default: what the kernel knows]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l mode -d 'How the file is to travel' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l root -d 'The folder to serve' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l config -d 'A file of options, each by its long name, and of rules (TOML); the environment and the command line go before it [default: /etc/rtftpd/rtftpd.toml, if it is there]' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -s l -l listen -d 'Where to take requests; may be given several times: HOST:PORT, HOST or PORT, where HOST is an address or a name [default: [::]:69, IPv4 too]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l rules -d 'A file of rules: who may do what, from where they are served, and what is different for them (TOML; the README has an example)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l links-to -d 'A folder elsewhere that links in ROOT may lead to, for reading; may be given several times' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l interface -d 'Hear and answer on this network interface alone, whatever the routes say' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l uploads -d 'What clients may write' -r -f -a "off\t'Nothing'
create\t'Files whose names are new'
overwrite\t'Any file'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l max-upload -d 'The most bytes of one upload; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l keep-versions -d 'Keep so many old versions of a file that uploads replace beside it, the oldest goes first: sw.cfg.~1~, sw.cfg.~2~ and so on, as \'cp --backup=numbered\' names them' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l upload-name -d 'Store each upload under this name in place of its own, as in \'{ip}/{stem}-{date}-{seq}{ext}\': there are {name}, {stem} and {ext} of the file, without directories; {date} and {time} (UTC); {seq}, the first number that is free; {ip} and {mac} of the client' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l on-upload -d 'Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too; RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client\'s address. It runs as the user that serves, outside the sandbox' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l on-upload-within -d 'The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is killed with its process group, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l map-file -d 'A file with rules for names, as \'in.tftpd --map-file\' takes it (tftp-hpa)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l map-rule -d 'A rule for names, as a line of such a file: \'r ^ clients/\\i/\' gives each client a folder of its own; may be given several times, behind the rules of --map-file' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l strip-prefix -d 'Leave this out where a name begins with it, as in \'/tftpboot/\' or \'C:\'; may be given several times, the first that fits goes' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l list-name -d 'The name under which every directory has its listing' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l model -d 'What drives transfers' -r -f -a "threads\t'Each on a thread of its own: a slow disk holds up one transfer and no other'
events\t'All on one loop: less processor time and memory, from a hundred at once on'
processes\t'Each in a new process that has its socket and no file: what the network says can harm one transfer and no other'
iterative\t'One after the other, to compare with'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l max-threads -d 'With --model threads: threads at once; transfers beyond them run on an event loop. With --model processes: processes at once; requests beyond them are not answered yet' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l event-threads -d 'With --model events: loops, each on a thread; more than one pays only with more than two processors' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l max-sessions -d 'Transfers at once' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l network-sessions -d 'Transfers at once of one network (an IPv4 /24, an IPv6 /56) [default: three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l unproven-sessions -d 'Transfers at once whose clients have not answered yet, of one network and of all [default: a quarter and three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l request-rate -d 'Requests in a second of one network and of all, and four times as many at once; the rest is dropped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l error-rate -d 'Answers in a second that are longer than what they answer and begin no transfer, to one network and to all, and four times as many at once; after that errors go without their text' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l unheard-rate -d 'With --single-port: bytes in a second to one network and to all whose addresses have not shown that they hear; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l rate -d 'Bytes in a second that all downloads together take; their clients share them fairly [default: as many as they can]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l memory -d 'Memory for the windows of all transfers, beyond which each gets one small block at a time; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l max-blksize -d 'The largest block size to grant, in bytes; 1428 keeps every packet whole on an Ethernet or a VPN' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l max-blksize-of -d 'The largest block size for clients of one network, as NETWORK=BYTES; may be given several times, the first that fits counts' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l max-windowsize -d 'The widest window to grant, in blocks; 1 turns windows off' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l ports -d 'Ports for transfers, as FIRST-LAST (for a firewall) [default: any the system gives]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l patience -d 'The time after which a client that makes no progress is gone; one that has not answered at all gives way to others after 3 seconds, where they need its place' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l first-interval -d 'The time before something is sent again, while no round trip has been measured' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l intervals -d 'The shortest and the longest interval between two attempts (after three in vain 7.5 seconds, unless the longest is below 5)' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l drain -d 'The time that running transfers get when the server is stopped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l idle-exit -d 'End when nothing was asked for so long and no transfer runs: who keeps the socket starts it again [default: with --inetd 15min, else never]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l handover -d 'Hand over to a new server: one that is started with the same FILE takes the sockets from this one, which then takes no more requests and ends with its last transfer' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l pid-file -d 'Write the number of the process there, and hold it: \'rtftpd reload\' finds the server by it' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l user -d 'Who to become once the addresses are bound, by name or number, where root starts it [default: tftp where there is one, else nobody]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l sandbox -d 'What the server gives up before it serves, as far as the kernel can take it' -r -f -a "files\t'Landlock: no files but those in the folder and in the directory above it, where a folder that is swapped would be; no TCP, no signals to others'
folder\t'The same for this very folder alone: one that is swapped or mounted later needs a restart'
calls\t'Seccomp: only the system calls of a TFTP server; without --uploads none that changes a file'
rights\t'No capability, and none to be had by a program that is started (no_new_privs)'
none\t'Nothing of it'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l http -d 'Show what the server does, and the folder itself whatever the rules are, on a page at http://ADDRESS:PORT/, and its metrics at /metrics; a port alone is for this machine only [default: off]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l http-name -d 'A name by which browsers and monitors reach the page; may be given several times. Without it they do by address, or as localhost' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l events-to -d 'Write each event as a line of JSON to a file, to a socket (unix:PATH), or to a command that reads them (\'| COMMAND\'); it is started before the server gives up its rights, as the user that serves' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l progress-log -d 'Log each transfer that is under way once in so much time, with how far it is' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l log-rate -d 'Log lines in each second at most, after ten times as many at once; those left out are counted; 0 leaves none out' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l trace -d 'Log each packet of transfers, a line for each, within --log-rate; of clients at one address or in one network, as --trace=192.0.2.7 or --trace=192.0.2.0/24, or of all' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l pcap-on-failure -d 'Keep the last packets of each transfer that fails as a capture for Wireshark in this folder: the last hundred of them, a few KiB each' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l write -d 'It is a request to write'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l list -d 'It is a request to list a directory'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l json -d 'The answer as one JSON object'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l create-dirs -d 'Let an upload make the directories in its name'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l growing-files -d 'Send files that grow meanwhile, as long as they were at first (logs); without this their transfers end with an error'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l strip-junk -d 'Leave out 0xFF and control characters at the end of a name: some firmware does not end what DHCP told it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l ignore-case -d 'Look for a name that is not there in letters of the other size (A-Z, a-z), as Windows does'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l no-list -d 'Offer no listing: neither LIST requests nor the generated file'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l single-port -d 'Send and receive everything at the port that takes the requests, for NAT, containers and load balancers; transfers run as with --model events, and an address proves less (see rfc/single-port.md)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l whole-packets -d 'Grant no block that the path to the client would carry in pieces (its MTU, where the kernel knows it)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l no-offload -d 'Let neither kernel nor device cut and join packets (UDP_SEGMENT, UDP_GRO): for a device that fails at it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l inetd -d 'Serve at the socket that is standard input, as inetd and xinetd give it with \'wait\', and end when nobody asks any more (--idle-exit); log lines go to the journal or to syslog'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -l log-json -d 'Write log lines as JSON, and the banner too, as one of them for each address'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -s v -l verbose -d 'Tell more: -v also what was dropped, and when a transfer begins'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -s q -l quiet -d 'Tell only of trouble, and show no banner'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand explain" -s h -l help -d 'Print help'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l config -d 'A file of options, each by its long name, and of rules (TOML); the environment and the command line go before it [default: /etc/rtftpd/rtftpd.toml, if it is there]' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -s l -l listen -d 'Where to take requests; may be given several times: HOST:PORT, HOST or PORT, where HOST is an address or a name [default: [::]:69, IPv4 too]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l rules -d 'A file of rules: who may do what, from where they are served, and what is different for them (TOML; the README has an example)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l links-to -d 'A folder elsewhere that links in ROOT may lead to, for reading; may be given several times' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l interface -d 'Hear and answer on this network interface alone, whatever the routes say' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l uploads -d 'What clients may write' -r -f -a "off\t'Nothing'
create\t'Files whose names are new'
overwrite\t'Any file'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l max-upload -d 'The most bytes of one upload; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l keep-versions -d 'Keep so many old versions of a file that uploads replace beside it, the oldest goes first: sw.cfg.~1~, sw.cfg.~2~ and so on, as \'cp --backup=numbered\' names them' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l upload-name -d 'Store each upload under this name in place of its own, as in \'{ip}/{stem}-{date}-{seq}{ext}\': there are {name}, {stem} and {ext} of the file, without directories; {date} and {time} (UTC); {seq}, the first number that is free; {ip} and {mac} of the client' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l on-upload -d 'Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too; RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client\'s address. It runs as the user that serves, outside the sandbox' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l on-upload-within -d 'The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is killed with its process group, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l map-file -d 'A file with rules for names, as \'in.tftpd --map-file\' takes it (tftp-hpa)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l map-rule -d 'A rule for names, as a line of such a file: \'r ^ clients/\\i/\' gives each client a folder of its own; may be given several times, behind the rules of --map-file' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l strip-prefix -d 'Leave this out where a name begins with it, as in \'/tftpboot/\' or \'C:\'; may be given several times, the first that fits goes' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l list-name -d 'The name under which every directory has its listing' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l model -d 'What drives transfers' -r -f -a "threads\t'Each on a thread of its own: a slow disk holds up one transfer and no other'
events\t'All on one loop: less processor time and memory, from a hundred at once on'
processes\t'Each in a new process that has its socket and no file: what the network says can harm one transfer and no other'
iterative\t'One after the other, to compare with'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l max-threads -d 'With --model threads: threads at once; transfers beyond them run on an event loop. With --model processes: processes at once; requests beyond them are not answered yet' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l event-threads -d 'With --model events: loops, each on a thread; more than one pays only with more than two processors' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l max-sessions -d 'Transfers at once' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l network-sessions -d 'Transfers at once of one network (an IPv4 /24, an IPv6 /56) [default: three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l unproven-sessions -d 'Transfers at once whose clients have not answered yet, of one network and of all [default: a quarter and three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l request-rate -d 'Requests in a second of one network and of all, and four times as many at once; the rest is dropped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l error-rate -d 'Answers in a second that are longer than what they answer and begin no transfer, to one network and to all, and four times as many at once; after that errors go without their text' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l unheard-rate -d 'With --single-port: bytes in a second to one network and to all whose addresses have not shown that they hear; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l rate -d 'Bytes in a second that all downloads together take; their clients share them fairly [default: as many as they can]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l memory -d 'Memory for the windows of all transfers, beyond which each gets one small block at a time; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l max-blksize -d 'The largest block size to grant, in bytes; 1428 keeps every packet whole on an Ethernet or a VPN' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l max-blksize-of -d 'The largest block size for clients of one network, as NETWORK=BYTES; may be given several times, the first that fits counts' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l max-windowsize -d 'The widest window to grant, in blocks; 1 turns windows off' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l ports -d 'Ports for transfers, as FIRST-LAST (for a firewall) [default: any the system gives]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l patience -d 'The time after which a client that makes no progress is gone; one that has not answered at all gives way to others after 3 seconds, where they need its place' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l first-interval -d 'The time before something is sent again, while no round trip has been measured' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l intervals -d 'The shortest and the longest interval between two attempts (after three in vain 7.5 seconds, unless the longest is below 5)' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l drain -d 'The time that running transfers get when the server is stopped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l idle-exit -d 'End when nothing was asked for so long and no transfer runs: who keeps the socket starts it again [default: with --inetd 15min, else never]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l handover -d 'Hand over to a new server: one that is started with the same FILE takes the sockets from this one, which then takes no more requests and ends with its last transfer' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l pid-file -d 'Write the number of the process there, and hold it: \'rtftpd reload\' finds the server by it' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l user -d 'Who to become once the addresses are bound, by name or number, where root starts it [default: tftp where there is one, else nobody]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l sandbox -d 'What the server gives up before it serves, as far as the kernel can take it' -r -f -a "files\t'Landlock: no files but those in the folder and in the directory above it, where a folder that is swapped would be; no TCP, no signals to others'
folder\t'The same for this very folder alone: one that is swapped or mounted later needs a restart'
calls\t'Seccomp: only the system calls of a TFTP server; without --uploads none that changes a file'
rights\t'No capability, and none to be had by a program that is started (no_new_privs)'
none\t'Nothing of it'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l http -d 'Show what the server does, and the folder itself whatever the rules are, on a page at http://ADDRESS:PORT/, and its metrics at /metrics; a port alone is for this machine only [default: off]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l http-name -d 'A name by which browsers and monitors reach the page; may be given several times. Without it they do by address, or as localhost' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l events-to -d 'Write each event as a line of JSON to a file, to a socket (unix:PATH), or to a command that reads them (\'| COMMAND\'); it is started before the server gives up its rights, as the user that serves' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l progress-log -d 'Log each transfer that is under way once in so much time, with how far it is' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l log-rate -d 'Log lines in each second at most, after ten times as many at once; those left out are counted; 0 leaves none out' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l trace -d 'Log each packet of transfers, a line for each, within --log-rate; of clients at one address or in one network, as --trace=192.0.2.7 or --trace=192.0.2.0/24, or of all' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l pcap-on-failure -d 'Keep the last packets of each transfer that fails as a capture for Wireshark in this folder: the last hundred of them, a few KiB each' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l create-dirs -d 'Let an upload make the directories in its name'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l growing-files -d 'Send files that grow meanwhile, as long as they were at first (logs); without this their transfers end with an error'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l strip-junk -d 'Leave out 0xFF and control characters at the end of a name: some firmware does not end what DHCP told it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l ignore-case -d 'Look for a name that is not there in letters of the other size (A-Z, a-z), as Windows does'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l no-list -d 'Offer no listing: neither LIST requests nor the generated file'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l single-port -d 'Send and receive everything at the port that takes the requests, for NAT, containers and load balancers; transfers run as with --model events, and an address proves less (see rfc/single-port.md)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l whole-packets -d 'Grant no block that the path to the client would carry in pieces (its MTU, where the kernel knows it)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l no-offload -d 'Let neither kernel nor device cut and join packets (UDP_SEGMENT, UDP_GRO): for a device that fails at it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l inetd -d 'Serve at the socket that is standard input, as inetd and xinetd give it with \'wait\', and end when nobody asks any more (--idle-exit); log lines go to the journal or to syslog'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -l json -d 'Write log lines as JSON, and the banner too, as one of them for each address'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -s v -l verbose -d 'Tell more: -v also what was dropped, and when a transfer begins'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -s q -l quiet -d 'Tell only of trouble, and show no banner'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand reload" -s h -l help -d 'Print help'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l config -d 'A file of options, each by its long name, and of rules (TOML); the environment and the command line go before it [default: /etc/rtftpd/rtftpd.toml, if it is there]' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -s l -l listen -d 'Where to take requests; may be given several times: HOST:PORT, HOST or PORT, where HOST is an address or a name [default: [::]:69, IPv4 too]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l rules -d 'A file of rules: who may do what, from where they are served, and what is different for them (TOML; the README has an example)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l links-to -d 'A folder elsewhere that links in ROOT may lead to, for reading; may be given several times' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l interface -d 'Hear and answer on this network interface alone, whatever the routes say' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l uploads -d 'What clients may write' -r -f -a "off\t'Nothing'
create\t'Files whose names are new'
overwrite\t'Any file'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l max-upload -d 'The most bytes of one upload; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l keep-versions -d 'Keep so many old versions of a file that uploads replace beside it, the oldest goes first: sw.cfg.~1~, sw.cfg.~2~ and so on, as \'cp --backup=numbered\' names them' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l upload-name -d 'Store each upload under this name in place of its own, as in \'{ip}/{stem}-{date}-{seq}{ext}\': there are {name}, {stem} and {ext} of the file, without directories; {date} and {time} (UTC); {seq}, the first number that is free; {ip} and {mac} of the client' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l on-upload -d 'Run this command by the shell for each upload that is whole, before it appears; where it ends with another status than 0 the upload is refused. It has RTFTPD_PATH, the file to read, which has no name yet and is its standard input, too; RTFTPD_NAME, where it is to appear below RTFTPD_FOLDER; RTFTPD_SIZE, and RTFTPD_PEER, the client\'s address. It runs as the user that serves, outside the sandbox' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l on-upload-within -d 'The time that the command of --on-upload has, and as much before that for its turn, for four run at once; then it is killed with its process group, and the upload is refused. Clients wait no longer than 13 (busybox) or 25 seconds' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l map-file -d 'A file with rules for names, as \'in.tftpd --map-file\' takes it (tftp-hpa)' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l map-rule -d 'A rule for names, as a line of such a file: \'r ^ clients/\\i/\' gives each client a folder of its own; may be given several times, behind the rules of --map-file' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l strip-prefix -d 'Leave this out where a name begins with it, as in \'/tftpboot/\' or \'C:\'; may be given several times, the first that fits goes' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l list-name -d 'The name under which every directory has its listing' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l model -d 'What drives transfers' -r -f -a "threads\t'Each on a thread of its own: a slow disk holds up one transfer and no other'
events\t'All on one loop: less processor time and memory, from a hundred at once on'
processes\t'Each in a new process that has its socket and no file: what the network says can harm one transfer and no other'
iterative\t'One after the other, to compare with'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l max-threads -d 'With --model threads: threads at once; transfers beyond them run on an event loop. With --model processes: processes at once; requests beyond them are not answered yet' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l event-threads -d 'With --model events: loops, each on a thread; more than one pays only with more than two processors' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l max-sessions -d 'Transfers at once' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l network-sessions -d 'Transfers at once of one network (an IPv4 /24, an IPv6 /56) [default: three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l unproven-sessions -d 'Transfers at once whose clients have not answered yet, of one network and of all [default: a quarter and three quarters of --max-sessions]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l request-rate -d 'Requests in a second of one network and of all, and four times as many at once; the rest is dropped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l error-rate -d 'Answers in a second that are longer than what they answer and begin no transfer, to one network and to all, and four times as many at once; after that errors go without their text' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l unheard-rate -d 'With --single-port: bytes in a second to one network and to all whose addresses have not shown that they hear; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l rate -d 'Bytes in a second that all downloads together take; their clients share them fairly [default: as many as they can]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l memory -d 'Memory for the windows of all transfers, beyond which each gets one small block at a time; K, M and G may follow the number' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l max-blksize -d 'The largest block size to grant, in bytes; 1428 keeps every packet whole on an Ethernet or a VPN' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l max-blksize-of -d 'The largest block size for clients of one network, as NETWORK=BYTES; may be given several times, the first that fits counts' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l max-windowsize -d 'The widest window to grant, in blocks; 1 turns windows off' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l ports -d 'Ports for transfers, as FIRST-LAST (for a firewall) [default: any the system gives]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l patience -d 'The time after which a client that makes no progress is gone; one that has not answered at all gives way to others after 3 seconds, where they need its place' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l first-interval -d 'The time before something is sent again, while no round trip has been measured' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l intervals -d 'The shortest and the longest interval between two attempts (after three in vain 7.5 seconds, unless the longest is below 5)' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l drain -d 'The time that running transfers get when the server is stopped' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l idle-exit -d 'End when nothing was asked for so long and no transfer runs: who keeps the socket starts it again [default: with --inetd 15min, else never]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l handover -d 'Hand over to a new server: one that is started with the same FILE takes the sockets from this one, which then takes no more requests and ends with its last transfer' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l pid-file -d 'Write the number of the process there, and hold it: \'rtftpd reload\' finds the server by it' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l user -d 'Who to become once the addresses are bound, by name or number, where root starts it [default: tftp where there is one, else nobody]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l sandbox -d 'What the server gives up before it serves, as far as the kernel can take it' -r -f -a "files\t'Landlock: no files but those in the folder and in the directory above it, where a folder that is swapped would be; no TCP, no signals to others'
folder\t'The same for this very folder alone: one that is swapped or mounted later needs a restart'
calls\t'Seccomp: only the system calls of a TFTP server; without --uploads none that changes a file'
rights\t'No capability, and none to be had by a program that is started (no_new_privs)'
none\t'Nothing of it'"
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l http -d 'Show what the server does, and the folder itself whatever the rules are, on a page at http://ADDRESS:PORT/, and its metrics at /metrics; a port alone is for this machine only [default: off]' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l http-name -d 'A name by which browsers and monitors reach the page; may be given several times. Without it they do by address, or as localhost' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l events-to -d 'Write each event as a line of JSON to a file, to a socket (unix:PATH), or to a command that reads them (\'| COMMAND\'); it is started before the server gives up its rights, as the user that serves' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l progress-log -d 'Log each transfer that is under way once in so much time, with how far it is' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l log-rate -d 'Log lines in each second at most, after ten times as many at once; those left out are counted; 0 leaves none out' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l trace -d 'Log each packet of transfers, a line for each, within --log-rate; of clients at one address or in one network, as --trace=192.0.2.7 or --trace=192.0.2.0/24, or of all' -r
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l pcap-on-failure -d 'Keep the last packets of each transfer that fails as a capture for Wireshark in this folder: the last hundred of them, a few KiB each' -r -F
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l create-dirs -d 'Let an upload make the directories in its name'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l growing-files -d 'Send files that grow meanwhile, as long as they were at first (logs); without this their transfers end with an error'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l strip-junk -d 'Leave out 0xFF and control characters at the end of a name: some firmware does not end what DHCP told it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l ignore-case -d 'Look for a name that is not there in letters of the other size (A-Z, a-z), as Windows does'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l no-list -d 'Offer no listing: neither LIST requests nor the generated file'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l single-port -d 'Send and receive everything at the port that takes the requests, for NAT, containers and load balancers; transfers run as with --model events, and an address proves less (see rfc/single-port.md)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l whole-packets -d 'Grant no block that the path to the client would carry in pieces (its MTU, where the kernel knows it)'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l no-offload -d 'Let neither kernel nor device cut and join packets (UDP_SEGMENT, UDP_GRO): for a device that fails at it'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l inetd -d 'Serve at the socket that is standard input, as inetd and xinetd give it with \'wait\', and end when nobody asks any more (--idle-exit); log lines go to the journal or to syslog'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -l json -d 'Write log lines as JSON, and the banner too, as one of them for each address'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -s v -l verbose -d 'Tell more: -v also what was dropped, and when a transfer begins'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -s q -l quiet -d 'Tell only of trouble, and show no banner'
complete -c rtftpd -n "__fish_rtftpd_using_subcommand top" -s h -l help -d 'Print help'
