package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// PostgreSQL's protocol, version 3, as far as a proxy has to understand it.

const (
	codeSSL        = 80877103
	codeGSS        = 80877104
	codeCancel     = 80877102
	maxStartup     = 16 << 10
	maxMessage     = 64 << 20
	authSASL       = 10
	plusMechanism  = "SCRAM-SHA-256-PLUS"
	headerBytes    = 5
	startupVersion = 3 << 16
)

// A message is one of either side: its type and what follows the length.
type message struct {
	kind byte
	body []byte
}

func readMessage(r io.Reader) (message, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return message{}, err
	}
	length := int(binary.BigEndian.Uint32(header[1:])) - 4
	if length < 0 || length > maxMessage {
		return message{}, fmt.Errorf("message %q of %d bytes", header[0], length)
	}
	m := message{header[0], make([]byte, length)}
	_, err := io.ReadFull(r, m.body)
	return m, err
}

func (m message) bytes() []byte {
	b := make([]byte, 0, headerBytes+len(m.body))
	b = append(b, m.kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.body)+4))
	return append(b, m.body...)
}

// readStartup reads what comes before messages have types: a request for TLS, a cancellation, or a login.
func readStartup(r io.Reader) (int, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint32(head[:]))
	if length < 8 || length > maxStartup {
		return 0, nil, fmt.Errorf("startup packet of %d bytes", length)
	}
	body := make([]byte, length-8)
	_, err := io.ReadFull(r, body)
	return int(binary.BigEndian.Uint32(head[4:])), body, err
}

func startupPacket(code int, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, body...)
}

// parameters of a login: user, database, application_name, ...
func parameters(body []byte) map[string]string {
	fields := strings.Split(string(body), "\x00")
	list := map[string]string{}
	for i := 0; i+1 < len(fields) && fields[i] != ""; i += 2 {
		list[fields[i]] = fields[i+1]
	}
	if list["database"] == "" {
		list["database"] = list["user"]
	}
	return list
}

// cString cuts the first zero-terminated string off.
func cString(body []byte) (string, []byte) {
	text, rest, _ := bytes.Cut(body, []byte{0})
	return string(text), rest
}

// errorField returns one field of an ErrorResponse: 'C' is the SQLSTATE.
func errorField(body []byte, field byte) string {
	for len(body) > 0 && body[0] != 0 {
		kind := body[0]
		var text string
		text, body = cString(body[1:])
		if kind == field {
			return text
		}
	}
	return ""
}

func errorMessage(severity, state, text string) message {
	var b bytes.Buffer
	for _, field := range []struct {
		kind byte
		text string
	}{{'S', severity}, {'V', severity}, {'C', state}, {'M', text}} {
		b.WriteByte(field.kind)
		b.WriteString(field.text)
		b.WriteByte(0)
	}
	b.WriteByte(0)
	return message{'E', b.Bytes()}
}

// withoutChannelBinding takes the mechanism that binds to the server's certificate out of the server's offer: a client that
// speaks without TLS would take it for an attack.
func withoutChannelBinding(m message) message {
	if m.kind != 'R' || len(m.body) < 4 || binary.BigEndian.Uint32(m.body) != authSASL {
		return m
	}
	return message{'R', bytes.Replace(m.body, []byte(plusMechanism+"\x00"), nil, 1)}
}
