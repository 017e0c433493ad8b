#!/usr/bin/perl
# Runs a command under a system call filter, as containers and hardened services have one:
#
#   filtered.pl RULE... -- COMMAND...
#
#   CALL=ERRNO           the call fails so
#   CALL:N&MASK=ERRNO    it does where its argument N, from 0 on, has one of these bits
#   numbers=FILE         the numbers of calls, as `cc` tells them; before all others, if at all
#   only=FILE            calls that are not named in this file, one a line, fail by EPERM
#
# The kernel's own filter (seccomp), and not a tracer: what runs under it is not slowed, and cannot get rid of it.

use strict;
use warnings;
use Errno;

# From <linux/bpf_common.h> and <linux/seccomp.h>.
my ($LOAD, $EQUAL, $ANY, $RETURN) = (0x20, 0x15, 0x45, 0x06);
my ($ALLOW, $FAIL) = (0x7fff0000, 0x00050000);
my ($NO_NEW_PRIVILEGES, $SET_FILTER) = (38, 1);

# Numbers differ between machines: the C compiler knows those of this one.
my %number;
my @told = @ARGV && $ARGV[0] =~ /^numbers=(.+)/ ? ("<", $1) : ("-|", "echo '#include <asm/unistd.h>' | cc -E -dM -");
shift if $told[0] eq "<";
open(my $cc, $told[0], $told[1]) or die "$told[1]: $!\n";
while (<$cc>) { $number{$1} = $2 if /^#define __NR_(\w+) (\d+)$/ }
close($cc) && %number or die "$told[1]: no numbers of system calls\n";

my @filter;
sub op { push @filter, pack("SCCL", @_) }
sub fail { op($RETURN, 0, 0, $FAIL | $_[0]) }

my $allowed;
op($LOAD, 0, 0, 0);
while (defined(my $rule = shift)) {
    last if $rule eq "--";
    if ($rule =~ /^only=(.+)/) {
        $allowed = $1;
        next;
    }
    my ($call, $argument, $mask, $errno) = $rule =~ /^(\w+)(?::(\d)&(\w+))?=(\w+)$/ or die "$rule is no rule\n";
    my $code = Errno->can($errno) or die "$errno is no error\n";
    my $number = $number{$call};
    # A call that this machine never had cannot be made on it.
    next unless defined $number;
    if (defined $argument) {
        op($EQUAL, 0, 4, $number);
        op($LOAD, 0, 0, 16 + 8 * $argument);
        op($ANY, 0, 1, oct $mask);
    } else {
        op($EQUAL, 0, 1, $number);
    }
    fail($code->());
    op($LOAD, 0, 0, 0) if defined $argument;
}
if (defined $allowed) {
    open(my $calls, "<", $allowed) or die "$allowed: $!\n";
    while (my $call = <$calls>) {
        chomp $call;
        next unless defined $number{$call};
        op($EQUAL, 0, 1, $number{$call});
        op($RETURN, 0, 0, $ALLOW);
    }
    fail(Errno::EPERM());
}
op($RETURN, 0, 0, $ALLOW);

my $program = join("", @filter);
syscall($number{prctl}, $NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 or die "no new privileges: $!\n";
syscall($number{seccomp}, $SET_FILTER, 0, pack("S x6 P", scalar(@filter), $program)) == 0 or die "seccomp: $!\n";
exec(@ARGV) or die "$ARGV[0]: $!\n";
