const say = () => new Response(null, { headers: { 'x-ran': 'chat' } })

export { say as DELETE, say as GET, say as POST, say as PUT }
