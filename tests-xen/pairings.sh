guests_need pv1:pv pv2:pv pvh1:pvh || return 1
now; echo "# guests up at $NOW"
try() {
  run_in pv1 "echo hello; ls /test; exit 3"; echo "rc $?"
  run_in pvh1 "uname -a; grants used;"; echo "rc $?"
  run_in dom0 "uname -a; grants used; nproc"; echo "rc $?"
  lsevtchn 0; lsevtchn 1; echo; xenstore-ls -f /local/domain/0/data
  xl debug-keys g; xl dmesg | tail -60
  time lsevtchn 1
  time xl debug-keys g; time xl dmesg >/dev/null
  time run_in pv1 'grants used'
  fail end
}
check t1 try
