package main

import (
	"regexp"
	"strings"
)

// A statement is what the proxy knows of one SQL statement of a text.
type statement struct {
	keyword string // its first word, in capitals
	words   []string
}

// A scanner splits SQL into statements and writes the text again without what may be secret: the contents of literals.
type scanner struct {
	sql        string
	at         int
	out        strings.Builder
	statements []statement
	current    statement
}

// scan returns the text with each literal as '…', white space joined and comments left out, and its statements.
func scan(sql string) (string, []statement) {
	s := &scanner{sql: sql}
	for s.at < len(s.sql) {
		s.step()
	}
	s.finish()
	return strings.TrimSpace(s.out.String()), s.statements
}

func (s *scanner) finish() {
	if len(s.current.words) > 0 {
		s.current.keyword = s.current.words[0]
		s.statements = append(s.statements, s.current)
	}
	s.current = statement{}
}

var dollarQuote = regexp.MustCompile(`^\$([A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$`)

func (s *scanner) step() {
	rest := s.sql[s.at:]
	c := rest[0]
	switch {
	case c == '\'':
		s.literal(false)
	case (c == 'e' || c == 'E') && len(rest) > 1 && rest[1] == '\'':
		s.at++
		s.literal(true)
	case c == '"':
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			end = len(rest) - 2
		}
		s.copy(end + 2)
	case c == '$' && dollarQuote.MatchString(rest):
		s.dollar(dollarQuote.FindString(rest))
	case strings.HasPrefix(rest, "--"):
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			end = len(rest)
		}
		s.at += end
		s.space()
	case strings.HasPrefix(rest, "/*"):
		s.comment()
	case c == ';':
		s.copy(1)
		s.finish()
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
		s.at++
		s.space()
	case letter(c):
		end := 1
		for end < len(rest) && (letter(rest[end]) || rest[end] >= '0' && rest[end] <= '9' || rest[end] == '$') {
			end++
		}
		s.current.words = append(s.current.words, strings.ToUpper(rest[:end]))
		s.copy(end)
	default:
		s.copy(1)
	}
}

func letter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (s *scanner) copy(n int) {
	s.out.WriteString(s.sql[s.at : s.at+n])
	s.at += n
}

// space writes one blank, unless one stands there.
func (s *scanner) space() {
	if text := s.out.String(); text != "" && !strings.HasSuffix(text, " ") {
		s.out.WriteByte(' ')
	}
}

// literal skips '...', in which ” is a quote, and with escapes \' too.
func (s *scanner) literal(escapes bool) {
	s.at++
	for s.at < len(s.sql) {
		c := s.sql[s.at]
		s.at++
		if escapes && c == '\\' {
			s.at++
		} else if c == '\'' {
			if s.at >= len(s.sql) || s.sql[s.at] != '\'' {
				break
			}
			s.at++
		}
	}
	s.at = min(s.at, len(s.sql))
	s.out.WriteString("'…'")
}

func (s *scanner) dollar(tag string) {
	s.at += len(tag)
	end := strings.Index(s.sql[s.at:], tag)
	if end < 0 {
		s.at = len(s.sql)
	} else {
		s.at += end + len(tag)
	}
	s.out.WriteString("'…'")
}

// comment skips one of C's style, which nests.
func (s *scanner) comment() {
	depth := 0
	for s.at < len(s.sql) {
		switch {
		case strings.HasPrefix(s.sql[s.at:], "/*"):
			depth++
			s.at += 2
		case strings.HasPrefix(s.sql[s.at:], "*/"):
			depth--
			s.at += 2
		default:
			s.at++
		}
		if depth == 0 {
			break
		}
	}
	s.space()
}

// reading words begin statements that leave nothing behind. COMMIT is judged by its transaction.
var reading = map[string]bool{
	"SELECT": true, "SHOW": true, "SET": true, "RESET": true, "BEGIN": true, "START": true, "COMMIT": true, "END": true, "ROLLBACK": true,
	"ABORT": true, "SAVEPOINT": true, "RELEASE": true, "VALUES": true, "TABLE": true, "EXPLAIN": true, "LISTEN": true, "UNLISTEN": true,
	"NOTIFY": true, "DISCARD": true, "DEALLOCATE": true, "DECLARE": true, "FETCH": true, "MOVE": true, "CLOSE": true, "LOCK": true,
	"WITH": true, "COPY": true,
}

// changing words make a statement of the above change something after all: WITH x AS (INSERT ...), SELECT ... INTO, SELECT nextval(...).
var changing = map[string]bool{
	"INSERT": true, "DELETE": true, "MERGE": true, "INTO": true, "NEXTVAL": true, "SETVAL": true, "LO_CREATE": true, "LO_UNLINK": true,
}

// writes tells whether the statement changes what lasts. Advisory locks, signals to backends and settings of a session do not.
func (st statement) writes() bool {
	if !reading[st.keyword] {
		return true
	}
	if len(st.words) > 1 && (st.words[1] == "PREPARED" || st.keyword == "COPY" && st.has("FROM") && !st.has("SELECT") && !st.has("TO")) {
		return true
	}
	for i, word := range st.words {
		if changing[word] {
			return true
		}
		// FOR UPDATE and FOR NO KEY UPDATE only lock.
		if word == "UPDATE" && st.keyword == "WITH" && st.words[i-1] != "FOR" && st.words[i-1] != "KEY" {
			return true
		}
	}
	return false
}

func (st statement) has(word string) bool {
	for _, each := range st.words {
		if each == word {
			return true
		}
	}
	return false
}

// commits tells whether the statement ends a transaction so that its changes stay.
func (st statement) commits() bool {
	return st.keyword == "COMMIT" || st.keyword == "END"
}

// A query is a text sent for execution, as rules and log see it.
type query struct {
	text    string
	keyword string
	writes  bool
	commits bool
}

func newQuery(sql string) query {
	text, statements := scan(sql)
	q := query{text: mask(text)}
	for i, st := range statements {
		if i == 0 {
			q.keyword = st.keyword
		}
		q.writes = q.writes || st.writes()
		q.commits = q.commits || st.commits()
	}
	return q
}
