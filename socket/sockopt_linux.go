package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockoptUint32s reads an option of a socket that is a list of numbers into
// list, which must not be empty, and returns how many there are. Where list is
// too short the error is ERANGE. x/sys/unix has no such function.
func getsockoptUint32s(fd, option int, list []uint32) (int, error) {
	const size = unsafe.Sizeof(list[0])
	length := uint32(uintptr(len(list)) * size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option),
		uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&length)), 0)
	n := int(uintptr(length) / size)
	if errno != 0 {
		return n, errno
	}
	return n, nil
}
