# Checks of an FTP server through Net::FTP: net_ftp_checks.pl PORT USER PASSWORD HOME CHECK.
#
# HOME is the folder that the server serves to USER, with every permission. A check that fails dies.
use strict;
use warnings;
use Net::FTP;

my ($port, $user, $password, $home, $check) = @ARGV;
my $passive = $check eq 'active' ? 0 : 1;
my $ftp = Net::FTP->new('127.0.0.1', Port => $port, Passive => $passive, Timeout => 20) or die "connect: $@";

sub true { my ($condition, $what) = @_; $condition or die "$what: " . $ftp->code . ' ' . $ftp->message; return $condition }
sub equal { my ($got, $expected, $what) = @_; $got eq $expected or die "$what: got '$got', expected '$expected'" }
sub slurp { my ($path) = @_; open my $file, '<:raw', $path or die "$path: $!"; local $/; my $all = <$file>; return $all // '' }
sub spew { my ($path, $contents) = @_; open my $file, '>:raw', $path or die "$path: $!"; print $file $contents; close $file or die $! }

true($ftp->login($user, $password), 'login');
true($ftp->binary, 'binary');

sub transfers {
    my $contents = join '', map { chr(($_ * 7919 + int($_ / 251)) & 255) } 1 .. 300_000;
    spew('up', $contents);
    equal($ftp->put('up', 'stored'), 'stored', 'put');
    true(slurp("$home/stored") eq $contents, 'what is stored');
    equal($ftp->get('stored', 'got'), 'got', 'get');
    true(slurp('got') eq $contents, 'what is fetched');
    equal($ftp->size('stored'), 300_000, 'size');
    utime 1_000_000_000, 1_000_000_000, "$home/stored" or die $!;
    equal($ftp->mdtm('stored'), 1_000_000_000, 'mdtm');

    # Resumed, and appended.
    spew('part', substr $contents, 0, 100_000);
    equal($ftp->get('stored', 'part', 100_000), 'part', 'get from an offset');
    true(slurp('part') eq $contents, 'a download resumed');
    $ftp->restart(299_990);
    equal($ftp->get('stored', 'tail'), 'tail', 'get after restart');
    true(slurp('tail') eq substr($contents, 299_990), 'what comes after restart');
    spew('more', 'more');
    true($ftp->append('more', 'stored'), 'append');
    true(slurp("$home/stored") eq $contents . 'more', 'what was appended');
    true($ftp->append('more', 'fresh'), 'append to a missing file');
    equal(slurp("$home/fresh"), 'more', 'what was appended to a missing file');

    # Names of the server's making: from the 150, as RFC 1123 section 4.1.2.9 has it.
    my %unique;
    for my $name (1 .. 3) {
        spew('up', "unique $name");
        true($ftp->put_unique('up', 'wanted'), 'put_unique');
        my $made = $ftp->unique_name or die 'no unique name';
        equal(slurp("$home/$made"), "unique $name", "put_unique as $made");
        $unique{$made} = 1;
    }
    equal(scalar keys %unique, 3, 'three different names');

    # Text.
    true($ftp->ascii, 'ascii');
    spew('text', join '', map { "line $_\n" } 1 .. 5000);
    true($ftp->put('text'), 'put in ASCII');
    true(slurp("$home/text") eq slurp('text'), 'a text stored');
    true($ftp->get('text', 'text2'), 'get in ASCII');
    true(slurp('text2') eq slurp('text'), 'a text fetched');
    true($ftp->binary, 'binary');

    # Folders and lists.
    true($ftp->mkdir('qu"ote'), 'mkdir');
    true($ftp->cwd('qu"ote'), 'cwd');
    equal($ftp->pwd, '/qu"ote', 'pwd');
    true($ftp->mkdir('/made/deep/er', 1), 'mkdir with parents');
    true($ftp->put("$home/text", '/made/deep/text'), 'put into a folder');
    true($ftp->cdup, 'cdup');
    equal($ftp->pwd, '/', 'pwd');
    equal(join(' ', sort grep { !/^unique|wanted|ftp/ } $ftp->ls), 'fresh made qu"ote stored text', 'ls');
    equal(join(' ', $ftp->ls('t*')), 'text', 'ls with a wildcard');
    true((grep { /^-rw.* text$/ } $ftp->dir) == 1, 'dir');
    true($ftp->rename('text', 'made/text'), 'rename');
    true(-e "$home/made/text", 'what was renamed');
    true($ftp->rmdir('made', 1), 'rmdir with all that is in it');
    true(!-e "$home/made", 'what was removed');
    true($ftp->delete('fresh'), 'delete');
    true(!-e "$home/fresh", 'what was deleted');

    # Questions and refusals.
    for my $command ('SIZE', 'MDTM', 'REST', 'STOU', 'MLST') {
        true($ftp->supported($command), "supported($command)");
    }
    true(($ftp->feature('MDTM'))[0], 'feature');
    equal($ftp->quot('NOOP'), 2, 'quot');
    true($ftp->site('CHMOD 600 stored') == 2, 'site');
    equal((stat "$home/stored")[2] & 0777, 0600, 'SITE CHMOD');
    $ftp->alloc(1000);
    true($ftp->code == 202 || $ftp->code == 200, 'alloc');
    true(!defined $ftp->get('missing', 'missing') && $ftp->code == 550, 'get of a missing file');
    true(!defined $ftp->size('missing') && $ftp->code == 550, 'size of a missing file');
    true(!$ftp->cwd('missing') && $ftp->code == 550, 'cwd to a missing folder');
}

sub aborts {
    open my $file, '>', "$home/big" or die $!;
    truncate $file, 32 << 20 or die $!;
    close $file;
    spew("$home/small", 'small');
    for (1 .. 3) {
        my $data = true($ftp->retr('big'), 'retr');
        my $buffer;
        $data->read($buffer, 1000) or die 'no data';
        # IAC IP IAC as urgent data, then DM and ABOR.
        true($ftp->abort, 'abort');
        $ftp->get('small', 'got') or die 'the session does not go on: ' . $ftp->message;
        equal(slurp('got'), 'small', 'the next file');
    }
}

$check eq 'abort' ? aborts() : transfers();
true($ftp->quit, 'quit');
