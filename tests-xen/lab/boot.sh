# Sourced, and run in the background. boot FETCHED IMAGE INITRD WORK LIMIT SMP: boots Xen under QEMU's software emulation until it powers
# off or is killed; the machine's log goes to WORK/console, dom0's second serial port is the socket WORK/agent.
#
# -smap: dom0 crashes at once with it under emulation. -xsave: programs die of segmentation faults at random.

boot() {
  local fetched=$1 image=$2 initrd=$3 work=$4 limit=$5 smp=$6 qemu=$1/emulator
  local xen="console=com1 com1=115200,8n1 dom0_mem=${LAB_DOM0_MEM}M,max:${LAB_DOM0_MEM}M dom0_max_vcpus=2"
  xen="$xen loglvl=warning guest_loglvl=warning conring_size=512k sched=credit2 smt=0 spec-ctrl=no xpti=no watchdog=0"
  exec env "LD_LIBRARY_PATH=$(emulator_libraries "$fetched")" timeout --foreground -k 5 "$limit" \
    "$qemu/usr/bin/qemu-system-x86_64" -L "$qemu/usr/share/seabios" -L "$qemu/usr/share/qemu" \
    -accel tcg,thread=multi -cpu max,-smap,-xsave -smp "$smp" -m 2048 \
    -display none -nodefaults -no-reboot -monitor none \
    -serial "file:$work/console" -serial "unix:$work/agent,server=on,wait=off" \
    -kernel "$image/xen" -append "$xen" \
    -initrd "$image/vmlinux-dom0 console=hvc0 loglevel=4,$initrd" \
    </dev/null >"$work/emulator.log" 2>&1
}
