/*
 * The program that a held container starts instead of its app: it waits for SIGCONT and then becomes the app. There is
 * no compiler where Berth runs, an image may have neither shell nor C library, and a shell would change the
 * environment; so these are the 300 bytes of a static program, as an assembler writes them.
 *
 * Its arguments are the paths where the app's program may be, in the order of PATH, an empty one, and then the app's
 * own arguments from its name on. As `execvp` does, it tries one path after the other, and gives a script without an
 * interpreter to `/bin/sh`. It exits with 127 when there is no such program and with 126 when one may not be run.
 */

/** Each instruction with what it says: x86-64, Linux. */
type Listing = readonly (readonly [hex: string, assembly: string])[]

/** r14: the environment, r12: the first path, rbx: the app's arguments. */
const readArguments: Listing = [
  ['488b0424', 'mov rax, [rsp]'],
  ['4c8d74c410', 'lea r14, [rsp + rax*8 + 16]'],
  ['4c8d642410', 'lea r12, [rsp + 16]'],
  ['4c89e3', 'mov rbx, r12'],
  ['488b03', 'next: mov rax, [rbx]'],
  ['4883c308', 'add rbx, 8'],
  ['803800', 'cmp byte [rax], 0'],
  ['75f4', 'jne next'],
]

/**
 * Every signal is blocked first, so that a SIGCONT which comes early is kept; any other ends the program as SIGTERM would,
 * whatever an image has chosen to be stopped by. The socket with the abstract name `berth-held` tells whoever looks into
 * the network namespace that no SIGCONT is lost any more; it closes when the app takes over.
 */
const waitForSigcont: Listing = [
  ['6aff', 'push -1 ; every signal'],
  ['4989e5', 'mov r13, rsp'],
  ['6a00', 'push 0'],
  ['b80e000000', 'mov eax, SYS_rt_sigprocmask'],
  ['31ff', 'xor edi, edi ; SIG_BLOCK'],
  ['4c89ee', 'mov rsi, r13'],
  ['4889e2', 'mov rdx, rsp'],
  ['41ba08000000', 'mov r10d, 8'],
  ['0f05', 'syscall'],
  ['b829000000', 'mov eax, SYS_socket'],
  ['bf01000000', 'mov edi, AF_UNIX'],
  ['be02000800', 'mov esi, SOCK_DGRAM | SOCK_CLOEXEC'],
  ['31d2', 'xor edx, edx'],
  ['0f05', 'syscall'],
  ['89c7', 'mov edi, eax'],
  ['48b82d68656c64000000', 'mov rax, "-held"'],
  ['50', 'push rax'],
  ['48b80100006265727468', 'mov rax, AF_UNIX, 0, "berth"'],
  ['50', 'push rax'],
  ['4889e6', 'mov rsi, rsp'],
  ['ba0d000000', 'mov edx, 13'],
  ['b831000000', 'mov eax, SYS_bind'],
  ['0f05', 'syscall'],
  ['b880000000', 'again: mov eax, SYS_rt_sigtimedwait'],
  ['4c89ef', 'mov rdi, r13'],
  ['31f6', 'xor esi, esi'],
  ['31d2', 'xor edx, edx ; without a limit'],
  ['41ba08000000', 'mov r10d, 8'],
  ['0f05', 'syscall'],
  ['83f812', 'cmp eax, SIGCONT'],
  ['7411', 'je go'],
  ['85c0', 'test eax, eax'],
  ['7ee3', 'jle again'],
  ['8db880000000', 'lea edi, [rax + 128]'],
  ['b8e7000000', 'mov eax, SYS_exit_group'],
  ['0f05', 'syscall'],
  ['b80e000000', 'go: mov eax, SYS_rt_sigprocmask'],
  ['bf02000000', 'mov edi, SIG_SETMASK'],
  ['498d75f8', 'lea rsi, [r13 - 8] ; as it was'],
  ['31d2', 'xor edx, edx'],
  ['41ba08000000', 'mov r10d, 8'],
  ['0f05', 'syscall'],
]

const becomeTheApp: Listing = [
  ['bd7f000000', 'mov ebp, 127'],
  ['498b3c24', 'next: mov rdi, [r12]'],
  ['803f00', 'cmp byte [rdi], 0'],
  ['744e', 'je end'],
  ['4983c408', 'add r12, 8'],
  ['4889de', 'mov rsi, rbx'],
  ['4c89f2', 'mov rdx, r14'],
  ['b83b000000', 'mov eax, SYS_execve'],
  ['0f05', 'syscall'],
  ['83f8f8', 'cmp eax, -ENOEXEC'],
  ['740c', 'je script'],
  ['83f8f3', 'cmp eax, -EACCES'],
  ['75dc', 'jne next'],
  ['bd7e000000', 'mov ebp, 126'],
  ['ebd5', 'jmp next'],
  ['498b4424f8', 'script: mov rax, [r12 - 8]'],
  ['488903', 'mov [rbx], rax ; the path instead of the name'],
  ['48b82f62696e2f736800', 'mov rax, "/bin/sh"'],
  ['50', 'push rax'],
  ['4889e7', 'mov rdi, rsp'],
  ['488d73f8', 'lea rsi, [rbx - 8] ; and the shell before it'],
  ['48893e', 'mov [rsi], rdi'],
  ['4c89f2', 'mov rdx, r14'],
  ['b83b000000', 'mov eax, SYS_execve'],
  ['0f05', 'syscall'],
  ['bd7e000000', 'mov ebp, 126'],
  ['89ef', 'end: mov edi, ebp'],
  ['b8e7000000', 'mov eax, SYS_exit_group'],
  ['0f05', 'syscall'],
]

/** OCI's words of the processors that there is a program for. */
export const holdArchitectures: readonly string[] = ['amd64']

/** In the order of the program, for the test that follows its jumps. */
export const holdListings = [readArguments, waitForSigcont, becomeTheApp] as const

const headerBytes = 64 + 56
const loadedAt = 0x400000

/** Waits for SIGCONT before it becomes the app. */
export const waitingProgram = elfProgram(holdListings)
/** Becomes the app at once. */
export const passingProgram = elfProgram([readArguments, becomeTheApp])

/** An ELF file with one segment, which is the file itself. */
function elfProgram(listings: readonly Listing[]): Buffer {
  const code = Buffer.from(listings.flatMap((listing) => listing.map(([hex]) => hex)).join(''), 'hex')
  const header = Buffer.alloc(headerBytes)
  header.write('\x7fELF', 'latin1')
  // 64 bits, little endian, version 1; an executable for x86-64.
  header.set([2, 1, 1], 4)
  header.writeUInt16LE(2, 16)
  header.writeUInt16LE(0x3e, 18)
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(BigInt(loadedAt + headerBytes), 24)
  header.writeBigUInt64LE(64n, 32)
  // Sizes of this header and of the one program header, and how many there are.
  header.writeUInt16LE(64, 52)
  header.writeUInt16LE(56, 54)
  header.writeUInt16LE(1, 56)
  const size = BigInt(headerBytes + code.length)
  // Loaded, readable and executable.
  header.writeUInt32LE(1, 64)
  header.writeUInt32LE(5, 68)
  header.writeBigUInt64LE(BigInt(loadedAt), 80)
  header.writeBigUInt64LE(BigInt(loadedAt), 88)
  header.writeBigUInt64LE(size, 96)
  header.writeBigUInt64LE(size, 104)
  header.writeBigUInt64LE(0x1000n, 112)
  return Buffer.concat([header, code])
}
