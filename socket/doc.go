// Package socket serves the broker: HTTP/1.1 and JSON over a Unix socket, whose
// peers the kernel names, and over TCP the two things that browsers and monitors
// need. It translates and decides nothing; wire types live in socket/client.
//
// Every answer that is not 2xx is JSON with a code of one table, see errors.go;
// the only exception is the page that a browser is shown after a consent screen.
package socket
