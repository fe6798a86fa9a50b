# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rtftp_global_optspecs
    string join \n blksize= windowsize= timeout= retries= mode= no-options no-offload h/help V/version
end

function __fish_rtftp_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rtftp_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rtftp_using_subcommand
    set -l cmd (__fish_rtftp_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rtftp -n "__fish_rtftp_needs_command" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_needs_command" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_needs_command" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_needs_command" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_needs_command" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_needs_command" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_needs_command" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_needs_command" -s V -l version -d 'Print version'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "get" -d 'Read files from a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "download" -d 'Read files from a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "fetch" -d 'Read files from a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "put" -d 'Write files to a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "upload" -d 'Write files to a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "send" -d 'Write files to a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "list" -d 'List a directory of a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "ls" -d 'List a directory of a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "dir" -d 'List a directory of a server'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "check" -d 'Ask whether a server serves a file, without reading it: for monitoring'
complete -c rtftp -n "__fish_rtftp_needs_command" -a "bench" -d 'Put a load on a server of your own: many downloads at once, and how they fared'
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -s o -l output -d 'Where to write: a file, a folder, or - for standard output [default: the file\'s own name, here]' -r -F
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l interval -d 'How often to ask with --wait, in seconds or with a unit, as in 500ms' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l wait -d 'Keep asking until the device is there: through no route, no such host, a closed port and silence'
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -s q -l quiet -d 'No progress bar, and nothing when it went well'
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -l json -d 'One JSON object for each file, on standard output (standard error when the file goes there)'
complete -c rtftp -n "__fish_rtftp_using_subcommand get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -s o -l output -d 'Where to write: a file, a folder, or - for standard output [default: the file\'s own name, here]' -r -F
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l interval -d 'How often to ask with --wait, in seconds or with a unit, as in 500ms' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l wait -d 'Keep asking until the device is there: through no route, no such host, a closed port and silence'
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -s q -l quiet -d 'No progress bar, and nothing when it went well'
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -l json -d 'One JSON object for each file, on standard output (standard error when the file goes there)'
complete -c rtftp -n "__fish_rtftp_using_subcommand download" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -s o -l output -d 'Where to write: a file, a folder, or - for standard output [default: the file\'s own name, here]' -r -F
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l interval -d 'How often to ask with --wait, in seconds or with a unit, as in 500ms' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l wait -d 'Keep asking until the device is there: through no route, no such host, a closed port and silence'
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -s q -l quiet -d 'No progress bar, and nothing when it went well'
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -l json -d 'One JSON object for each file, on standard output (standard error when the file goes there)'
complete -c rtftp -n "__fish_rtftp_using_subcommand fetch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l interval -d 'How often to ask with --wait, in seconds or with a unit, as in 500ms' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l wait -d 'Keep asking until the device is there: through no route, no such host, a closed port and silence'
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -s q -l quiet -d 'No progress bar, and nothing when it went well'
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -l json -d 'One JSON object for each file, on standard output (standard error when the file goes there)'
complete -c rtftp -n "__fish_rtftp_using_subcommand put" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l interval -d 'How often to ask with --wait, in seconds or with a unit, as in 500ms' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l wait -d 'Keep asking until the device is there: through no route, no such host, a closed port and silence'
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -s q -l quiet -d 'No progress bar, and nothing when it went well'
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -l json -d 'One JSON object for each file, on standard output (standard error when the file goes there)'
complete -c rtftp -n "__fish_rtftp_using_subcommand upload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l interval -d 'How often to ask with --wait, in seconds or with a unit, as in 500ms' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l wait -d 'Keep asking until the device is there: through no route, no such host, a closed port and silence'
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -s q -l quiet -d 'No progress bar, and nothing when it went well'
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -l json -d 'One JSON object for each file, on standard output (standard error when the file goes there)'
complete -c rtftp -n "__fish_rtftp_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -l json -d 'One JSON object for each entry, and one at the end that tells how it went'
complete -c rtftp -n "__fish_rtftp_using_subcommand list" -s h -l help -d 'Print help'
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -l json -d 'One JSON object for each entry, and one at the end that tells how it went'
complete -c rtftp -n "__fish_rtftp_using_subcommand ls" -s h -l help -d 'Print help'
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l max-time -d 'End it after so long whatever happens, in seconds or with a unit, as in 2min' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -l json -d 'One JSON object for each entry, and one at the end that tells how it went'
complete -c rtftp -n "__fish_rtftp_using_subcommand dir" -s h -l help -d 'Print help'
complete -c rtftp -n "__fish_rtftp_using_subcommand check" -l within -d 'The longest that the answer may take, the request\'s repetitions included' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand check" -l warn -d 'An answer that takes longer is a warning' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand check" -s h -l help -d 'Print help'
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -s c -l clients -d 'Downloads at once, each followed by the next; with --rate, the most at once [default: 10; with --rate 1000]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l rate -d 'Begin so many downloads in each second, whether others have ended or not' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -s d -l duration -d 'Begin downloads for so long, in seconds or with a unit, as in 2min [default: 10; with --count as long as it takes]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l count -d 'Begin so many downloads' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l blksize -d 'Bytes in a block, 8 to 65464 [default: what the path carries in one piece]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l windowsize -d 'Blocks in a window, 1 to 32767 [default: up to 64]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l timeout -d 'The longest that either side waits before it sends again, in seconds, 1 to 255 [default: as measured]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l retries -d 'How often to repeat what has no answer; once there was one, for 30 seconds at least [default: a request for 7 seconds, and as long without options]' -r
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l mode -d 'How files travel' -r -f -a "octet\t'Byte for byte'
netascii\t'As text: line ends are converted'"
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l verify -d 'Compare each download with the first of the same file'
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -s q -l quiet -d 'No line on the terminal while it is under way'
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l json -d 'The report as one JSON object; times are in seconds'
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l no-options -d 'Plain RFC 1350: 512-byte blocks, one at a time, no options, whatever else says'
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -l no-offload -d 'Let neither kernel nor device cut and join packets: for a device that fails at it'
complete -c rtftp -n "__fish_rtftp_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
